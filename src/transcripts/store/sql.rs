//! The statements of the queue of transcriptions.

use crate::db::sql::statements;

statements! { "transcripts/sql";
    CLAIM_JOB = "claim_job",
    COUNT_JOBS = "count_jobs",
    DROP_JOB = "drop_job",
    EXTEND_LEASE = "extend_lease",
    FAIL_JOB = "fail_job",
    FINISH_JOB = "finish_job",
    GIVE_BACK_JOB = "give_back_job",
    JOB_FILES = "job_files",
    RESCUE_JOBS = "rescue_jobs",
    WAITING_LANGUAGES = "waiting_languages",
}
