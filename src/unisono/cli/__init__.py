"""One thin module per command: parse, load, call, save. `commands.py` names them all."""
