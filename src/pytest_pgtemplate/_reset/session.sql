-- What a session of ours needs, whatever ALTER DATABASE or ALTER ROLE .. SET have given it. Not every
-- version knows every setting.
SELECT set_config(name, wanted, false)
  FROM (VALUES
        -- A reset has to see what was committed while it waited for a lock, and to wait for it.
        ('default_transaction_isolation', 'read committed'),
        ('default_transaction_read_only', 'off'),
        ('default_transaction_deferrable', 'off'),
        ('statement_timeout', '0'),
        ('lock_timeout', '0'),
        ('transaction_timeout', '0'),
        ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'),
        -- Rows are kept as text: it has to tell all, and to mean the same each time it is read.
        ('bytea_output', 'hex'),
        ('DateStyle', 'ISO'),
        ('extra_float_digits', '1'),
        ('IntervalStyle', 'postgres'),
        ('lc_monetary', 'C'),
        ('TimeZone', 'UTC'),
        ('xmlbinary', 'base64'),
        ('xmloption', 'content'),
        -- To plan a statement costs more than to run it; nobody waits for a disk because of us.
        ('plan_cache_mode', 'force_generic_plan'),
        ('synchronous_commit', 'off'),
        ('max_parallel_workers_per_gather', '0'),
        ('jit', 'off')
       ) AS ours (name, wanted)
 WHERE EXISTS (SELECT FROM pg_settings s WHERE s.name = ours.name)
