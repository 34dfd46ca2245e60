-- attestlog on PostgreSQL 15 or newer: step 1 of the schema.
-- Run by the role that owns the schema. Writers and readers only use it: see the grants at the end.

create schema attestlog;
revoke all on schema attestlog from public;

create table attestlog.meta (version int not null);
insert into attestlog.meta values (1);

create table attestlog.log (
  log_id     int generated always as identity primary key,
  name       text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  durability text not null default 'server' check (durability in ('server', 'standby'))
);

-- One row a log: the lock at which all its writers meet, and all that the next batch depends on.
create table attestlog.head (
  log_id       int primary key references attestlog.log,
  moved_to     text,                       -- not null: no writer gets in any more
  size         bigint not null check (size > 0),
  entry_hash   bytea not null check (octet_length(entry_hash) = 32),
  timestamp_us bigint not null,
  edge         bytea not null check (octet_length(edge) % 32 = 0),
  erased       bigint not null default 0,  -- raised with each erasure: what derived indexes compare
  beat         bigint not null default 0   -- written so that a commit confirms the head: see beat()
) with (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

create table attestlog.entry (
  log_id     int    not null references attestlog.log,
  seq        bigint not null check (seq >= 0),
  entry_hash bytea  not null check (octet_length(entry_hash) = 32),
  line       bytea  not null,
  primary key (log_id, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);

-- The default compression, pglz, makes none of these lines smaller and costs more than twice the processor time.
do $$ begin
  alter table attestlog.entry alter column line set compression lz4;
exception when feature_not_supported or invalid_parameter_value then
  alter table attestlog.entry alter column line set storage external;
end $$;

-- Complete subtrees of 256^level leaves, level > 0. Those of level 0 are hashes of entry.entry_hash.
create table attestlog.node (
  log_id int    not null references attestlog.log,
  level  int    not null check (level > 0),
  idx    bigint not null check (idx >= 0),
  hash   bytea  not null check (octet_length(hash) = 32),
  primary key (log_id, level, idx)
);

create table attestlog.checkpoint (
  log_id int primary key references attestlog.log,
  size   bigint not null,
  note   bytea not null check (octet_length(note) <= 65536)
);

create table attestlog.timestamp (
  log_id   int    not null references attestlog.log,
  size     bigint not null,
  tag      text   not null,
  response bytea  not null check (octet_length(response) <= 262144),
  primary key (log_id, tag)
);

-- A writer changes nothing but by these functions.

create function attestlog.create_log(
  p_name text, p_durability text, p_line bytea, p_hash bytea, p_timestamp bigint, p_edge bytea,
  p_checkpoint bytea)
returns int language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare made int;
begin
  insert into log (name, durability) values (p_name, p_durability) returning log_id into made;
  insert into entry values (made, 0, p_hash, p_line);
  insert into head (log_id, size, entry_hash, timestamp_us, edge) values (made, 1, p_hash, p_timestamp, p_edge);
  if p_checkpoint is not null then
    insert into checkpoint values (made, 1, p_checkpoint);
  end if;
  return made;
end $$;

create function attestlog.lock(p_log int)
returns table (moved_to text, size bigint, entry_hash bytea, timestamp_us bigint, edge bytea, checkpoint bytea)
language plpgsql security definer set search_path = attestlog, pg_temp as $$
begin
  -- Two statements. One that waits for a row sees every other table as it was before it waited.
  perform 1 from head h where h.log_id = p_log for update;
  return query
    select h.moved_to, h.size, h.entry_hash, h.timestamp_us, h.edge,
           (select c.note from checkpoint c where c.log_id = p_log)
      from head h where h.log_id = p_log;
end $$;

create function attestlog.append(
  p_log int, p_size bigint, p_prev bytea, p_hashes bytea[], p_lines bytea[], p_timestamp bigint, p_edge bytea,
  p_levels int[], p_idx bigint[], p_nodes bytea[])
returns bigint language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare n int := cardinality(p_lines);
begin
  -- A host whose clock is ahead would date the log so that nobody else may append: that host is refused.
  if p_timestamp > extract(epoch from clock_timestamp()) * 1000000 + 60000000
     and p_timestamp > (select h.timestamp_us from head h where h.log_id = p_log) then
    raise exception 'the clock of this host is more than 60 s ahead of the server''s' using errcode = 'AL003';
  end if;
  if n = 0 or cardinality(p_hashes) <> n then
    raise exception 'a batch has as many hashes as lines' using errcode = 'AL002';
  end if;
  update head set size = p_size + n, entry_hash = p_hashes[n], timestamp_us = p_timestamp, edge = p_edge
   where log_id = p_log and moved_to is null and size = p_size and entry_hash = p_prev
     and timestamp_us <= p_timestamp;
  if not found then
    raise exception 'the head moved' using errcode = 'AL001';
  end if;
  insert into entry (log_id, seq, entry_hash, line)
    select p_log, p_size + o - 1, h, l from unnest(p_hashes, p_lines) with ordinality t(h, l, o);
  if cardinality(p_nodes) > 0 then
    insert into node select p_log, l, i, h from unnest(p_levels, p_idx, p_nodes) t(l, i, h);
  end if;
  return p_size + n;
end $$;

create function attestlog.set_checkpoint(p_log int, p_old bytea, p_size bigint, p_new bytea)
returns void language plpgsql security definer set search_path = attestlog, pg_temp as $$
begin
  perform 1 from head where log_id = p_log and moved_to is null and size >= p_size for update;
  if not found then
    raise exception 'the head moved' using errcode = 'AL001';
  end if;
  if p_old is null then
    insert into checkpoint values (p_log, p_size, p_new) on conflict do nothing;
  else
    update checkpoint set size = p_size, note = p_new
     where log_id = p_log and note = p_old and size <= p_size;
  end if;
  if not found then
    raise exception 'the checkpoint is another' using errcode = 'AL001';
  end if;
end $$;

create function attestlog.add_timestamp(p_log int, p_size bigint, p_tag text, p_response bytea)
returns void language sql security definer set search_path = attestlog, pg_temp as $$
  insert into timestamp values (p_log, p_size, p_tag, p_response) on conflict do nothing;
$$;

-- Take payloads out of lines: of these entries, of so many bytes each. Only an entry that erases lets it happen.
create function attestlog.erase(p_log int, p_said_by bigint, p_hash bytea, p_seqs bigint[], p_sizes int[])
returns void language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare
  before constant int := 99;  -- bytes before a payload: {"action_hash":"<64 digits>","action_payload":
  done int;
begin
  perform 1 from entry where log_id = p_log and seq = p_said_by and entry_hash = p_hash
     and position(convert_to('"action_type":"attestlog.erase_payload', 'UTF8') in line) > 0;
  if not found then
    raise exception 'entry % does not erase', p_said_by using errcode = 'AL002';
  end if;
  update entry e
     set line = substr(e.line, 1, before) || convert_to('null', 'UTF8') || substr(e.line, before + 1 + t.n)
    from unnest(p_seqs, p_sizes) t(s, n)
   where e.log_id = p_log and e.seq = t.s and t.s < p_said_by and t.n > 1
     and substr(e.line, before + 1 + t.n, 16) = convert_to(',"action_type":"', 'UTF8');
  get diagnostics done = row_count;
  if done <> cardinality(p_seqs) then
    raise exception 'a payload is not where it was' using errcode = 'AL002';
  end if;
  update head set erased = erased + 1 where log_id = p_log;
end $$;

-- A commit that carries nothing: once it has returned, what was read before it is as durable as itself.
create function attestlog.beat(p_log int)
returns void language sql security definer set search_path = attestlog, pg_temp as $$
  update head set beat = beat + 1 where log_id = p_log;
$$;

-- No writer gets in from now on. It says where the log is written instead.
create function attestlog.seal(p_log int, p_moved_to text)
returns void language plpgsql security definer set search_path = attestlog, pg_temp as $$
begin
  update head set moved_to = p_moved_to
   where log_id = p_log and (moved_to is null or moved_to = p_moved_to);
  if not found then
    raise exception 'the log was moved elsewhere already' using errcode = 'AL001';
  end if;
end $$;

-- A log that is being moved here: rows first, then the head, all in one transaction. It is sealed until open_copy().

create function attestlog.begin_copy(p_name text, p_durability text)
returns int language sql security definer set search_path = attestlog, pg_temp as $$
  insert into log (name, durability) values (p_name, p_durability) returning log_id;
$$;

create function attestlog.copy_entries(p_log int, p_start bigint, p_hashes bytea[], p_lines bytea[])
returns void language plpgsql security definer set search_path = attestlog, pg_temp as $$
begin
  if exists (select 1 from head where log_id = p_log) then
    raise exception 'the log is there already' using errcode = 'AL001';
  end if;
  insert into entry (log_id, seq, entry_hash, line)
    select p_log, p_start + o - 1, h, l from unnest(p_hashes, p_lines) with ordinality t(h, l, o);
end $$;

create function attestlog.end_copy(
  p_log int, p_from text, p_size bigint, p_hash bytea, p_timestamp bigint, p_edge bytea,
  p_levels int[], p_idx bigint[], p_nodes bytea[], p_checkpoint bytea, p_checkpoint_size bigint)
returns void language plpgsql security definer set search_path = attestlog, pg_temp as $$
begin
  insert into head (log_id, moved_to, size, entry_hash, timestamp_us, edge)
    values (p_log, 'not finished, from ' || p_from, p_size, p_hash, p_timestamp, p_edge);
  insert into node select p_log, l, i, h from unnest(p_levels, p_idx, p_nodes) t(l, i, h);
  if p_checkpoint is not null then
    insert into checkpoint values (p_log, p_checkpoint_size, p_checkpoint);
  end if;
end $$;

create function attestlog.open_copy(p_log int)
returns void language sql security definer set search_path = attestlog, pg_temp as $$
  update head set moved_to = null where log_id = p_log and moved_to like 'not finished, from %';
$$;

create function attestlog.drop_copy(p_log int)
returns void language plpgsql security definer set search_path = attestlog, pg_temp as $$
begin
  perform 1 from head where log_id = p_log and moved_to like 'not finished, from %' for update;
  if not found then
    raise exception 'this is not an unfinished copy' using errcode = 'AL001';
  end if;
  delete from timestamp where log_id = p_log;
  delete from checkpoint where log_id = p_log;
  delete from node where log_id = p_log;
  delete from entry where log_id = p_log;
  delete from head where log_id = p_log;
  delete from log where log_id = p_log;
end $$;

-- A complete set of stored hashes, made again from the entries: for rebuild_tree().
create function attestlog.set_nodes(p_log int, p_levels int[], p_idx bigint[], p_nodes bytea[])
returns void language sql security definer set search_path = attestlog, pg_temp as $$
  insert into node select p_log, l, i, h from unnest(p_levels, p_idx, p_nodes) t(l, i, h)
    on conflict (log_id, level, idx) do update set hash = excluded.hash;
$$;

do $$
declare role text;
begin
  foreach role in array array['attestlog_reader', 'attestlog_writer'] loop
    begin
      execute format('create role %I nologin', role);
    exception when duplicate_object or unique_violation then null;
    end;
  end loop;
end $$;

grant usage on schema attestlog to attestlog_reader, attestlog_writer;
grant select on all tables in schema attestlog to attestlog_reader, attestlog_writer;
revoke all on all functions in schema attestlog from public;
grant execute on all functions in schema attestlog to attestlog_writer;
