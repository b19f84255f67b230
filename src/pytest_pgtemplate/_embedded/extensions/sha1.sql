-- SHA-1 (FIPS 180-4): the server has no function for it. Part of every extension that needs it.
CREATE FUNCTION @extschema@.:sha1(data bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    mask CONSTANT bigint := 4294967295;  -- 32 bits
    message bytea := data || '\x80'
                     || decode(repeat('00', (119 - length(data) % 64) % 64), 'hex')
                     || int8send(8::bigint * length(data));
    h bigint[] := ARRAY[1732584193, 4023233417, 2562383102, 271733878, 3285377520];
    w bigint[];
    a bigint; b bigint; c bigint; d bigint; e bigint; f bigint;
    x bigint;
BEGIN
    FOR block IN 0 .. length(message) / 64 - 1 LOOP
        FOR t IN 0 .. 79 LOOP
            IF t < 16 THEN
                w[t] := ('x' || encode(substr(message, 64 * block + 4 * t + 1, 4), 'hex'))
                        ::bit(32)::bigint;
            ELSE
                x := w[t - 3] # w[t - 8] # w[t - 14] # w[t - 16];
                w[t] := ((x << 1) | (x >> 31)) & mask;
            END IF;
        END LOOP;
        a := h[1]; b := h[2]; c := h[3]; d := h[4]; e := h[5];
        FOR t IN 0 .. 79 LOOP
            CASE t / 20
                WHEN 0 THEN f := ((b & c) | (~b & d)) + 1518500249;
                WHEN 1 THEN f := (b # c # d) + 1859775393;
                WHEN 2 THEN f := ((b & c) | (b & d) | (c & d)) + 2400959708;
                ELSE        f := (b # c # d) + 3395469782;
            END CASE;
            x := ((((a << 5) | (a >> 27)) & mask) + f + e + w[t]) & mask;
            e := d; d := c; c := ((b << 30) | (b >> 2)) & mask; b := a; a := x;
        END LOOP;
        h := ARRAY[(h[1] + a) & mask, (h[2] + b) & mask, (h[3] + c) & mask, (h[4] + d) & mask,
                   (h[5] + e) & mask];
    END LOOP;
    RETURN (SELECT decode(string_agg(lpad(to_hex(word), 8, '0'), '' ORDER BY place), 'hex')
              FROM unnest(h) WITH ORDINALITY AS words (word, place));
END
$$;
