#!/bin/sh
# Sends what TUNE would, to a queue that asks for no signature: each second a message with a click and a conversion, and an update
# of the conversion that came ten messages earlier. Bodies are base64 of gzip of an envelope.
set -eu

event() { # number and day of the message that the original is in, id, action, more fields
    printf '{"event_id":"%s","action":"%s","date":"%s","offer_id":%d,"affiliate_id":%d,"currency":"USD"%s}' \
        "$3" "$4" "$2" $(($1 % 7 + 1)) $(($1 % 5 + 1)) "$5"
}

n=0
run=$(date +%s)
# "$@" are the days of the last messages, the oldest first.
while sleep 1; do
    n=$((n + 1))
    now=$(date +%s)
    day=$(date -u +%F)
    set -- "$@" "$day"
    events=$(event $n "$day" "$run-$n-click" click ",\"created_timestamp\":$now")
    events=$events,$(event $n "$day" "$run-$n" conversion \
        ",\"created_timestamp\":$now,\"tune_event_id\":\"$run-$n\",\"status\":\"approved\",\"payout\":1.50,\"revenue\":2.25")
    if [ "$n" -gt 10 ]; then
        events=$events,$(event $((n - 10)) "$1" "$run-$n-update" conversion \
            ",\"adjust_action\":\"update\",\"tune_event_id\":\"$run-$((n - 10))\",\"adjustment_sequence_id\":$now,\"adjustment_timestamp\":$now,\"payout\":-0.25")
        shift
    fi
    envelope="{\"network_id\":\"demo\",\"dispatch_timestamp\":$now,\"target_class\":\"stats\",\"dispatch_class\":\"event\",\"data\":[$events]}"
    body=$(printf '%s' "$envelope" | gzip -c | base64 | tr -d '\n')
    curl --silent --show-error --fail --output /dev/null "$ENDPOINT_URL/" \
        --header 'content-type: application/x-amz-json-1.0' --header 'x-amz-target: AmazonSQS.SendMessage' \
        --data "{\"QueueUrl\":\"$QUEUE_URL\",\"MessageBody\":\"$body\"}" || echo "could not send message $n"
done
