-- How many entries there are, and of how many each hash and the link hold. The hash of an entry covers its line but for
-- the payload, the hash itself and the signature; the payload begins at the 100th character of the line.
WITH hashed AS (
    SELECT
        sequence_number,
        action_payload IS NULL OR sha256(action_payload) = action_hash AS payload_ok,
        sha256(
            replace(replace(
                substr(line, 1, 82) || substr(line, 101 + length(coalesce(action_payload, 'null'))),
                ',"entry_hash":"' || entry_hash || '"', ''),
                ',"hsm_signature":"' || hsm_signature || '"', '')
        ) = entry_hash AS entry_ok,
        prev_entry_hash = coalesce(
            lag(entry_hash) OVER (ORDER BY sequence_number),
            CASE sequence_number WHEN 0 THEN repeat('0', 64) ELSE prev_entry_hash END
        ) AS link_ok
    FROM read_parquet('$FILE')
)
SELECT count(*), count_if(payload_ok), count_if(entry_ok), count_if(link_ok) FROM hashed;
