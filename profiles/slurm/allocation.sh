#!/usr/bin/env bash
# A whole run as one job on one node, snakemake inside it. From the folder that has .venv and Snakefile:
#
#   sbatch --cpus-per-task=16 --time=1-0 profiles/slurm/allocation.sh --configfile mine.yaml
#
# Two minutes before its time limit, and where SLURM takes the node away, the job goes back into the queue. It resumes there.
#SBATCH --job-name=unisono
#SBATCH --ntasks=1
#SBATCH --time=8:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --output=unisono-%j.log
#SBATCH --open-mode=append
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?start it with sbatch}" || exit 2
PATH=$PWD/.venv/bin:$PATH

back_into_the_queue() {
    echo "unisono: the time limit is near: back into the queue, where the run resumes"
    scontrol requeue "$SLURM_JOB_ID" && sleep 600
}
trap back_into_the_queue USR1

# The lock of a snakemake that was killed; results have a lock of their own, which ends with whoever holds it.
snakemake --unlock "$@"
snakemake --cores "${SLURM_CPUS_PER_TASK:-1}" "$@" &
wait $!
