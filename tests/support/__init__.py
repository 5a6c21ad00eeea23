"""What tests share: small tasks, a recogniser of tones, scripts that mpirun starts."""
