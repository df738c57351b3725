# A job of the harness: job.sh [--deaf] SECONDS OUTPUT... It tells the journal of its begin and end, and whether another
# attempt of it is alive: whatever it starts keeps the lock.
exec 9>>"$FAULTS_JOURNAL/lock.$TORC_JOB_ID"
flock -n 9 || echo "job $TORC_JOB_ID ($TORC_JOB_NAME): attempt $TORC_ATTEMPT_ID began beside another one" >>"$FAULTS_JOURNAL/overlaps"
echo "begin $TORC_WORKFLOW_ID $TORC_JOB_ID $TORC_ATTEMPT_ID $$ $(</proc/uptime)" >>"$FAULTS_JOURNAL/journal"
if [ "$1" = --deaf ]; then # it does not end when it is asked to
    trap "" TERM
    shift
fi
sleep "$1"
shift
for output; do echo "$TORC_ATTEMPT_ID" >"$output"; done
echo "end $TORC_WORKFLOW_ID $TORC_JOB_ID $TORC_ATTEMPT_ID $$ $(</proc/uptime)" >>"$FAULTS_JOURNAL/journal"
