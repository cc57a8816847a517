-- The answer is twice the time by which the theoretical arrival time is ahead of now, plus 1 where it was allowed: both
-- come back in one number, and what is stored is made from the same number. now_us() is the same throughout a statement;
-- one that has waited for the row's lock counts as having come when it was sent.
INSERT INTO fungible_rates (rate_key, tat_us, sweep_us)
VALUES (%(key)s, now_us() + LAST_INSERT_ID(%(first)s) DIV 2, now_us() + %(tolerance_us)s)
ON DUPLICATE KEY UPDATE tat_us = now_us() + LAST_INSERT_ID(
    IF(
        GREATEST(tat_us - now_us(), 0) + %(wanted_us)s <= %(tolerance_us)s,
        (GREATEST(tat_us - now_us(), 0) + %(wanted_us)s) * 2 + 1,
        GREATEST(tat_us - now_us(), 0) * 2
    )
) DIV 2
