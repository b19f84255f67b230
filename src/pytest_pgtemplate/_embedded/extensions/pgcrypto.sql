-- A stand-in for pgcrypto, which the binaries of the server lack. The functions that SQL can implement
-- exactly are implemented. The others raise feature_not_supported.

CREATE FUNCTION @extschema@.pgcrypto_lacks(what text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RAISE feature_not_supported USING
        MESSAGE = format('%s is not in pytest-pgtemplate''s stand-in for pgcrypto', what),
        HINT = 'Use a server that has pgcrypto itself: pg_version = 17 with the extra embedded17,'
               ' pg_bindir, or pg_url.';
END
$$;

-- Hashes

CREATE FUNCTION @extschema@.pgcrypto_hash(type text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    CASE
        WHEN lower(type) IN ('md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512') THEN
            RETURN lower(type);
        WHEN type ~* '^(sha3-|sha512-|shake|blake2|rmd|ripemd|whirlpool|sm3|md4)' THEN
            RETURN @extschema@.pgcrypto_lacks(type);
        ELSE
            RAISE invalid_parameter_value
                USING MESSAGE = format('Cannot use "%s": No such hash algorithm', type);
    END CASE;
END
$$;

CREATE FUNCTION @extschema@.digest(data bytea, type text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    CASE @extschema@.pgcrypto_hash(type)
        WHEN 'md5'    THEN RETURN decode(md5(data), 'hex');
        WHEN 'sha1'   THEN RETURN @extschema@.:sha1(data);
        WHEN 'sha224' THEN RETURN sha224(data);
        WHEN 'sha256' THEN RETURN sha256(data);
        WHEN 'sha384' THEN RETURN sha384(data);
        WHEN 'sha512' THEN RETURN sha512(data);
    END CASE;
END
$$;

CREATE FUNCTION @extschema@.digest(data text, type text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN @extschema@.digest(convert_to(data, getdatabaseencoding()), type);

-- RFC 2104
CREATE FUNCTION @extschema@.hmac(data bytea, key bytea, type text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    block CONSTANT int := CASE WHEN lower(type) IN ('sha384', 'sha512') THEN 128 ELSE 64 END;
    short CONSTANT bytea := CASE WHEN length(key) > block THEN @extschema@.digest(key, type)
                                 ELSE key END;
    inner_pad bytea := decode(repeat('36', block), 'hex');
    outer_pad bytea := decode(repeat('5c', block), 'hex');
BEGIN
    FOR i IN 0 .. length(short) - 1 LOOP
        inner_pad := set_byte(inner_pad, i, get_byte(short, i) # 54);
        outer_pad := set_byte(outer_pad, i, get_byte(short, i) # 92);
    END LOOP;
    RETURN @extschema@.digest(outer_pad || @extschema@.digest(inner_pad || data, type), type);
END
$$;

CREATE FUNCTION @extschema@.hmac(data text, key text, type text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN @extschema@.hmac(convert_to(data, getdatabaseencoding()),
                        convert_to(key, getdatabaseencoding()), type);

-- Random data

CREATE FUNCTION @extschema@.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN pg_catalog.gen_random_uuid();

CREATE FUNCTION @extschema@.gen_random_bytes(count int) RETURNS bytea
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE AS $$
BEGIN
    IF count NOT BETWEEN 1 AND 1024 THEN
        RAISE external_routine_invocation_exception USING MESSAGE = 'Length not in range';
    END IF;
    -- A UUID has six bits that are known; a hash of two of them has none.
    RETURN (SELECT substr(string_agg(sha256(uuid_send(pg_catalog.gen_random_uuid())
                                            || uuid_send(pg_catalog.gen_random_uuid())), ''), 1, count)
              FROM generate_series(1, (count + 31) / 32));
END
$$;

-- Passwords: the schemes $1$ (MD5), $5$ and $6$ (SHA-2) of crypt(3)

-- Every three bytes of a hash, in the order of their scheme, are four characters, the lowest first. A
-- place that is NULL stands for no byte.
CREATE FUNCTION @extschema@.pgcrypto_base64(hash bytea, places int[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    text text := '';
    bits int;
BEGIN
    FOR i IN 1 .. cardinality(places) BY 3 LOOP
        bits := (coalesce(get_byte(hash, places[i]), 0) << 16)
                | (coalesce(get_byte(hash, places[i + 1]), 0) << 8)
                | get_byte(hash, places[i + 2]);
        FOR n IN 0 .. num_nonnulls(places[i], places[i + 1], places[i + 2]) LOOP
            text := text || substr('./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
                                   1 + ((bits >> (6 * n)) & 63), 1);
        END LOOP;
    END LOOP;
    RETURN text;
END
$$;

CREATE FUNCTION @extschema@.pgcrypto_fill(pattern bytea, size int) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substr(decode(repeat(encode(pattern, 'hex'), size / length(pattern) + 1), 'hex'), 1, size);

-- What makes it slow, the same in all three.
CREATE FUNCTION @extschema@.pgcrypto_stretch(hash bytea, password bytea, salt bytea, type text, rounds int)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    mixed bytea;
BEGIN
    FOR i IN 0 .. rounds - 1 LOOP
        mixed := CASE i & 1 WHEN 1 THEN password ELSE hash END
                 || CASE i % 3 WHEN 0 THEN '' ELSE salt END
                 || CASE i % 7 WHEN 0 THEN '' ELSE password END
                 || CASE i & 1 WHEN 1 THEN hash ELSE password END;
        CASE type
            WHEN 'md5'    THEN hash := decode(md5(mixed), 'hex');
            WHEN 'sha256' THEN hash := sha256(mixed);
            WHEN 'sha512' THEN hash := sha512(mixed);
        END CASE;
    END LOOP;
    RETURN hash;
END
$$;

CREATE FUNCTION @extschema@.pgcrypto_crypt_md5(password bytea, salt bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    hash bytea := decode(md5(password || salt || password), 'hex');
    mixed bytea := password || '$1$' || salt || @extschema@.pgcrypto_fill(hash, length(password));
    bits int := length(password);
BEGIN
    WHILE bits > 0 LOOP
        mixed := mixed || CASE bits & 1 WHEN 1 THEN '\x00' ELSE substr(password, 1, 1) END;
        bits := bits >> 1;
    END LOOP;
    hash := decode(md5(mixed), 'hex');
    hash := @extschema@.pgcrypto_stretch(hash, password, salt, 'md5', 1000);
    RETURN @extschema@.pgcrypto_base64(
        hash, '{0,6,12, 1,7,13, 2,8,14, 3,9,15, 4,10,5, NULL,NULL,11}');
END
$$;

CREATE FUNCTION @extschema@.pgcrypto_crypt_sha(password bytea, salt bytea, type text, rounds int)
RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    hash bytea := @extschema@.digest(password || salt || password, type);
    mixed bytea := password || salt || @extschema@.pgcrypto_fill(hash, length(password));
    bits int := length(password);
    long_password bytea;
    long_salt bytea;
BEGIN
    WHILE bits > 0 LOOP
        mixed := mixed || CASE bits & 1 WHEN 1 THEN hash ELSE password END;
        bits := bits >> 1;
    END LOOP;
    hash := @extschema@.digest(mixed, type);
    long_password := decode(repeat(encode(password, 'hex'), length(password)), 'hex');
    long_salt := decode(repeat(encode(salt, 'hex'), 16 + get_byte(hash, 0)), 'hex');
    hash := @extschema@.pgcrypto_stretch(
        hash,
        @extschema@.pgcrypto_fill(@extschema@.digest(long_password, type), length(password)),
        @extschema@.pgcrypto_fill(@extschema@.digest(long_salt, type), length(salt)),
        type, rounds);
    RETURN @extschema@.pgcrypto_base64(hash, CASE type
        WHEN 'sha256' THEN
            '{0,10,20, 21,1,11, 12,22,2, 3,13,23, 24,4,14, 15,25,5, 6,16,26, 27,7,17, 18,28,8,
              9,19,29, NULL,31,30}'::int[]
        ELSE
            '{0,21,42, 22,43,1, 44,2,23, 3,24,45, 25,46,4, 47,5,26, 6,27,48, 28,49,7, 50,8,29,
              9,30,51, 31,52,10, 53,11,32, 12,33,54, 34,55,13, 56,14,35, 15,36,57, 37,58,16,
              59,17,38, 18,39,60, 40,61,19, 62,20,41, NULL,NULL,63}'
        END);
END
$$;

CREATE FUNCTION @extschema@.crypt(password text, salt text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    plain CONSTANT bytea := convert_to(password, getdatabaseencoding());
    -- The scheme, rounds if they are given, and the salt itself; a hash may follow.
    parts CONSTANT text[] := coalesce(regexp_match(salt, '^\$1\$()()([^$]{0,8})'),
                                      regexp_match(salt, '^\$[56]\$(rounds=(\d+)\$)?([^$]{0,16})'));
    bare CONSTANT bytea := convert_to(parts[3], getdatabaseencoding());
    wanted CONSTANT numeric := nullif(parts[2], '');
    rounds CONSTANT int := least(greatest(coalesce(wanted, 5000), 1000), 999999999);
    start CONSTANT text := concat(substr(salt, 1, 3),
                                  CASE WHEN wanted IS NOT NULL THEN format('rounds=%s$', rounds) END,
                                  parts[3], '$');
BEGIN
    CASE substr(salt, 1, 3)
        WHEN '$1$' THEN RETURN start || @extschema@.pgcrypto_crypt_md5(plain, bare);
        WHEN '$5$' THEN RETURN start || @extschema@.pgcrypto_crypt_sha(plain, bare, 'sha256', rounds);
        WHEN '$6$' THEN RETURN start || @extschema@.pgcrypto_crypt_sha(plain, bare, 'sha512', rounds);
        ELSE RETURN @extschema@.pgcrypto_lacks('crypt() with a salt of this kind');
    END CASE;
END
$$;

CREATE FUNCTION @extschema@.gen_salt(type text, rounds int) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE AS $$
DECLARE
    letters CONSTANT text := replace(encode(@extschema@.gen_random_bytes(12), 'base64'), '+', '.');
BEGIN
    CASE lower(type)
        WHEN 'md5' THEN
            IF rounds IN (0, 1000) THEN
                RETURN '$1$' || substr(letters, 1, 8);
            END IF;
        WHEN 'sha256crypt', 'sha512crypt' THEN
            IF rounds = 0 OR rounds BETWEEN 1000 AND 999999999 THEN
                RETURN format('$%s$rounds=%s$%s', CASE lower(type) WHEN 'sha256crypt' THEN 5 ELSE 6 END,
                              coalesce(nullif(rounds, 0), 5000), letters);
            END IF;
        WHEN 'bf', 'des', 'xdes' THEN
            RETURN @extschema@.pgcrypto_lacks(format('gen_salt(''%s'')', lower(type)));
        ELSE
            RAISE invalid_parameter_value USING MESSAGE = 'gen_salt: Unknown salt algorithm';
    END CASE;
    RAISE invalid_parameter_value USING MESSAGE = 'gen_salt: Incorrect number of rounds';
END
$$;

CREATE FUNCTION @extschema@.gen_salt(type text) RETURNS text LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
RETURN @extschema@.gen_salt(type, 0);

CREATE FUNCTION @extschema@.fips_mode() RETURNS bool LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
RETURN false;

-- What cannot be done here

DO $do$
DECLARE
    lacking record;
BEGIN
    FOR lacking IN
        SELECT *
          FROM (VALUES
                ('encrypt', 'bytea, bytea, text', 'bytea', 'IMMUTABLE'),
                ('decrypt', 'bytea, bytea, text', 'bytea', 'IMMUTABLE'),
                ('encrypt_iv', 'bytea, bytea, bytea, text', 'bytea', 'IMMUTABLE'),
                ('decrypt_iv', 'bytea, bytea, bytea, text', 'bytea', 'IMMUTABLE'),
                ('pgp_sym_encrypt', 'text, text', 'bytea', 'VOLATILE'),
                ('pgp_sym_encrypt', 'text, text, text', 'bytea', 'VOLATILE'),
                ('pgp_sym_encrypt_bytea', 'bytea, text', 'bytea', 'VOLATILE'),
                ('pgp_sym_encrypt_bytea', 'bytea, text, text', 'bytea', 'VOLATILE'),
                ('pgp_sym_decrypt', 'bytea, text', 'text', 'IMMUTABLE'),
                ('pgp_sym_decrypt', 'bytea, text, text', 'text', 'IMMUTABLE'),
                ('pgp_sym_decrypt_bytea', 'bytea, text', 'bytea', 'IMMUTABLE'),
                ('pgp_sym_decrypt_bytea', 'bytea, text, text', 'bytea', 'IMMUTABLE'),
                ('pgp_pub_encrypt', 'text, bytea', 'bytea', 'VOLATILE'),
                ('pgp_pub_encrypt', 'text, bytea, text', 'bytea', 'VOLATILE'),
                ('pgp_pub_encrypt_bytea', 'bytea, bytea', 'bytea', 'VOLATILE'),
                ('pgp_pub_encrypt_bytea', 'bytea, bytea, text', 'bytea', 'VOLATILE'),
                ('pgp_pub_decrypt', 'bytea, bytea', 'text', 'IMMUTABLE'),
                ('pgp_pub_decrypt', 'bytea, bytea, text', 'text', 'IMMUTABLE'),
                ('pgp_pub_decrypt', 'bytea, bytea, text, text', 'text', 'IMMUTABLE'),
                ('pgp_pub_decrypt_bytea', 'bytea, bytea', 'bytea', 'IMMUTABLE'),
                ('pgp_pub_decrypt_bytea', 'bytea, bytea, text', 'bytea', 'IMMUTABLE'),
                ('pgp_pub_decrypt_bytea', 'bytea, bytea, text, text', 'bytea', 'IMMUTABLE'),
                ('pgp_key_id', 'bytea', 'text', 'IMMUTABLE'),
                ('armor', 'bytea', 'text', 'IMMUTABLE'),
                ('armor', 'bytea, text[], text[]', 'text', 'IMMUTABLE'),
                ('dearmor', 'text', 'bytea', 'IMMUTABLE'),
                ('pgp_armor_headers', 'text, OUT key text, OUT value text', 'SETOF record', 'IMMUTABLE')
               ) AS functions (name, arguments, result, volatility)
    LOOP
        EXECUTE format(
            'CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE plpgsql %s STRICT PARALLEL SAFE AS %L',
            lacking.name, lacking.arguments, lacking.result, lacking.volatility,
            format('BEGIN PERFORM @extschema@.pgcrypto_lacks(%L); END', lacking.name || '()'));
    END LOOP;
END
$do$;
