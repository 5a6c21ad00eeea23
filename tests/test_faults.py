"""The faults that a system of this kind must survive, each with the test that provokes it, or why none does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FAULTS = {
    # processes
    "a worker is killed at any point": "engines/test_kills.py::test_jobs_killed_at_random_moments",
    "the combination is killed": "engines/test_kills.py::test_jobs_killed_at_random_moments",
    "a block is killed": "engines/test_kills.py::test_virtual_killed_at_random_moments",
    "a rank, or all of MPI, is killed": "engines/test_kills.py::test_sync_killed_at_random_moments",
    "mpirun or the launcher is killed": "engines/test_sync_faults.py::test_nothing_outlives_a_death",
    "any of them, many times in one training": "workflow/test_chaos.py::test_virtual_workers",
    "snakemake is killed in any stage": "workflow/test_kill.py::test_killed_in_every_stage",
    "snakemake is killed, its jobs go on": "workflow/test_slurm_faults.py::test_a_fault_changes_no_byte",
    "a cluster's job is cancelled, requeued, its node drained, the controller gone":
        "workflow/test_slurm_faults.py::test_a_fault_changes_no_byte",
    "a time limit, with a warning": "workflow/test_slurm_faults.py::test_a_time_limit_is_one_more_start",
    "one rank of several is warned": "engines/test_sync_faults.py::test_a_warning_to_one_rank_saves_all",
    "the same job runs twice": "engines/test_checkpoint.py::test_only_the_newest_process_may_publish",
    "two workflows for one name": "workflow/test_mistakes.py::test_two_at_a_time_are_one_too_many",
    "a worker hangs": "engines/test_sync.py::test_a_silent_rank_is_named",
    "a worker is slow": "engines/test_sync_faults.py::test_a_slow_rank_changes_no_byte",
    "another number of workers at resume": "engines/test_redeal.py::test_ranks_go_on_like_virtual_workers",
    "one rank raises while the others wait": "engines/test_sync_faults.py::test_a_rank_that_raises_ends_all",
    "a push is late or spoilt": "engines/test_served.py::test_a_spoilt_push_is_refused_and_recorded",
    # storage
    "a crash between any two operations of a checkpoint":
        "engines/test_checkpoint.py::test_a_checkpoint_that_fails_at_any_file_operation_is_never_a_mixture",
    "a crash between write, flush and rename": "test_files.py::test_failing_disk_keeps_the_old_file",
    "the disk fills up at any write of a checkpoint": "engines/test_disk_full.py::test_checkpoints",
    "the disk fills up at any write of the frames": "engines/test_disk_full.py::test_the_frames_store",
    "a disk that fails is named": "test_files.py::test_an_error_of_the_disk_names_the_file",
    "a flipped byte": "engines/test_checkpoint.py::test_a_flipped_byte_anywhere_is_detected_and_the_one_before_is_used",
    "all checkpoints are damaged":
        "engines/test_checkpoint.py::test_with_every_checkpoint_damaged_the_block_starts_from_its_files",
    "files of different iterations": "engines/test_diagnose.py::test_files_of_different_iterations_are_refused",
    "files of another run": "engines/test_checkpoint.py::test_files_of_another_run_are_refused_by_name",
    "results cannot be written": "workflow/test_mistakes.py::test_results_that_cannot_be_written",
    "too many open files":
        "data/test_sequences.py::test_a_whole_file_is_not_called_damaged_where_no_more_files_may_be_opened",
    # numbers
    "NaN in one worker, in all": "engines/test_combine.py::test_a_spoilt_worker_is_left_out_in_every_engine",
    "all workers are rejected":
        "engines/test_combine.py::test_when_all_are_rejected_the_model_stays_and_the_rate_halves",
    "the objective explodes": "engines/test_combine.py::test_a_wild_rate_backs_off_without_help",
    "it explodes again and again": "engines/test_combine.py::test_back_off_ends_with_one_line",
    "the state is of another model": "engines/test_refusals.py::test_a_model_of_another_layout_is_one_line",
    "a constant feature": "data/features/test_features.py::test_cmvn_by_hand_and_constant_dimension",
    "samples that are no numbers": "data/corpus/test_build.py::test_samples_that_are_no_numbers_are_set_aside",
    # data
    "any user's file, spoilt": "security/test_reader_fuzz.py::test_spoilt_files_are_read_or_refused_in_one_line",
    "any file of Kaldi, spoilt": "kaldi/test_kaldi_fuzz.py::test_spoiled_files",
    "hostile HDF5": "security/test_hostile_hdf5.py::test_",
    "audio that is empty, short, silent, of another form": "data/corpus/test_build.py::test_bad_audio_is_set_aside",
    "several channels": "data/corpus/test_build.py::test_wrong_channels",
    "another sampling rate": "data/corpus/test_build.py::test_other_sampling_rate",
    "alignments a frame too long":
        "kaldi/test_kaldi_corpus.py::test_alignments_of_a_frame_or_two_too_many_are_cut_and_counted",
    "ids twice or of one file only": "data/corpus/test_build.py::test_duplicate_id",
    "CRLF, BOM, strange blanks": "data/corpus/test_build.py::test_bom_and_crlf_are_read_and_said",
    "a lexicon with mistakes": "data/corpus/test_build.py::test_lexicon_without_phones_or_with_a_strange_phone",
    "pdf_ids out of range": "data/frames/test_frames.py::test_what_cannot_be_stored_is_refused_and_leaves_no_file",
    "too little data for the workers": "test_schedule.py::test_too_many_workers_for_the_data_is_one_line",
    "an empty split, speakers in two": "desk/test_doctor.py::test_spoilt_tables",
    "features of another size": "data/features/test_features.py::test_reader_names_what_does_not_fit",
    "a store that was cut": "data/frames/test_frames.py::test_a_store_that_was_cut_short_is_refused",
    # the same bytes
    "interrupted anywhere": "engines/test_checkpoint.py::test_interrupted_at_any_minibatch",
    "other numbers of threads and cores": "workflow/test_pipeline.py::test_one_core_gives_the_same_bytes",
    "another engine": "engines/test_sync.py::test_sync_writes_the_bytes_of_virtual",
    # surroundings
    "no GPU": "engines/test_place.py::test_a_demanded_gpu_that_is_not_there_is_one_line",
    "no MPI, or two": "desk/test_doctor.py::test_no_mpi_and_two_mpis",
    "no accounting, no CPUs, no GPU in the partition": "desk/test_cluster.py::test_what_does_not_fit",
    "paths with blanks and quotes": "data/corpus/test_build.py::test_",
    "a terminal that lacks letters": "cli/test_main.py::test_letters_that_a_terminal_lacks_are_escaped",
}  # fmt: skip
# As docs/reliability.md says them.
NOT_PROVOKED = ("file systems of a network", "power failure", "clock")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_test(fault):
    path, name = FAULTS[fault].split("::")
    assert re.search(rf"^def {name}", (ROOT / "tests" / path).read_text(), re.MULTILINE), FAULTS[fault]


def test_the_page_says_what_is_not_provoked():
    page = (ROOT / "docs/reliability.md").read_text()
    section = page[page.index("## Tried") :]
    assert all(words in section for words in NOT_PROVOKED)
