-- The settings of a reset session; they override ALTER DATABASE .. SET and ALTER ROLE .. SET. Settings
-- that this version does not have are skipped.
SELECT set_config(name, wanted, false)
  FROM (VALUES
        -- A reset waits for locks, and must then see what other transactions have committed.
        ('default_transaction_isolation', 'read committed'),
        ('default_transaction_read_only', 'off'),
        ('default_transaction_deferrable', 'off'),
        ('statement_timeout', '0'),
        ('lock_timeout', '0'),
        ('transaction_timeout', '0'),
        ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'),
        -- The baseline stores rows as text: it must be complete and independent of settings.
        ('bytea_output', 'hex'),
        ('DateStyle', 'ISO'),
        ('extra_float_digits', '1'),
        ('array_nulls', 'on'),
        ('IntervalStyle', 'postgres'),
        ('lc_monetary', 'C'),
        ('TimeZone', 'UTC'),
        ('xmlbinary', 'base64'),
        ('xmloption', 'content'),
        -- These change the meaning of SQL: that of the plugin, and that of functions that it calls.
        ('standard_conforming_strings', 'on'),
        ('transform_null_equals', 'off'),
        ('quote_all_identifiers', 'off'),
        ('row_security', 'on'),
        -- Planning a statement costs more than running it. No reset needs to survive a crash of the server.
        ('plan_cache_mode', 'force_generic_plan'),
        ('synchronous_commit', 'off'),
        ('max_parallel_workers_per_gather', '0'),
        ('jit', 'off')
       ) AS ours (name, wanted)
 WHERE EXISTS (SELECT FROM pg_settings s WHERE s.name = ours.name)
 UNION ALL
SELECT set_config('pgtemplate.session', 'on', false)
