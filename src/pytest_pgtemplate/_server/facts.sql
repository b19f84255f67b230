-- The server, the privileges of this role, and the locale of new databases.
SELECT current_setting('server_version')                       AS version,
       current_setting('server_version_num')::int              AS version_num,
       current_database()                                      AS maintenance,
       current_user                                            AS role,
       r.rolsuper                                              AS superuser,
       r.rolcreatedb OR r.rolsuper                             AS createdb,
       current_setting('fsync')::bool                          AS fsync,
       coalesce(current_setting('file_copy_method', true), '') AS file_copy_method,
       current_setting('max_connections')::int                 AS max_connections,
       current_setting('max_prepared_transactions')::int       AS max_prepared_transactions,
       current_setting('max_locks_per_transaction')::int       AS max_locks_per_transaction,
       -- Where objects are created whose migrations do not say it.
       concat_ws(' ', current_setting('search_path'),
                      current_setting('default_tablespace'),
                      current_setting('default_table_access_method'))   AS defaults,
       concat_ws(' ', pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
                      -- A new release of libc or ICU may sort differently than an index was built.
                      (SELECT string_agg(pg_collation_actual_version(first.id), ' ' ORDER BY first.id)
                         FROM (SELECT min(oid) AS id FROM pg_collation
                                WHERE collversion IS NOT NULL
                                GROUP BY collprovider) AS first))         AS locale
  FROM pg_roles r, pg_database d
 WHERE r.rolname = current_user
   AND d.datname = 'template1';
