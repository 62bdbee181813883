-- A day is noted from two days after it on: what comes then may come again when the day would be dropped.

comment on table late_days is 'Days of which clicks or impressions came later than the day after.';
