-- The foundation: tenants, pools, instances, operations, secrets, ingress, checkpoints, events, audit, keys.
-- Run once by the owner role in one transaction, with search_path = mvm. Every tenant table carries tenant_id and forced
-- row-level security; the policy reads the transaction's mvm.tenant. Times are timestamptz; documents are jsonb in wire
-- (snake_case) form. References between tenant tables carry tenant_id, so no row can point into another tenant.

-- Forces row-level security on a table and opens it to the two runtime roles. Later migrations call it for every new
-- table; a test lists all tables of the schema and fails when one was forgotten. mvm_tenant sees the rows of the tenant
-- named by the transaction and nothing when none is named; mvm_system sees all; the owner is subject to it as well and
-- sees none.
create function protect_tenant_table(target regclass, tenant_column text, privileges text) returns void
language plpgsql as $$
begin
	execute format('alter table %s enable row level security, force row level security', target);
	execute format(
		$sql$create policy only_own on %s for all to mvm_tenant
			using (%I = nullif(current_setting('mvm.tenant', true), ''))
			with check (%I = nullif(current_setting('mvm.tenant', true), ''))$sql$,
		target, tenant_column, tenant_column);
	execute format('create policy all_rows on %s for all to mvm_system using (true) with check (true)', target);
	execute format('grant %s on %s to mvm_tenant, mvm_system', privileges, target);
end $$;

create table tenant (
	id text primary key check (id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	quotas jsonb not null,
	created_at timestamptz not null default now(),
	suspended_at timestamptz,
	suspend_reason text,
	secrets_epoch bigint not null default 0,     -- +1 whenever a secret is set or removed
	config_version bigint not null default 1     -- compare-and-set of every change
);

create table pool (
	tenant_id text not null references tenant (id) on delete cascade,
	id text not null,
	spec jsonb not null,
	image text,                      -- content hash of the image revision new boots use
	config_version bigint not null default 1,
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	primary key (tenant_id, id)
);

create table instance (
	id text primary key,
	tenant_id text not null,
	pool_id text not null,
	state text not null check (state in ('created', 'ready', 'running', 'warm', 'sleeping', 'stopped', 'destroyed')),
	hibernated boolean not null default false,   -- asleep with its memory paged out (else cold)
	incarnation bigint not null default 0,
	version bigint not null default 0,           -- compare-and-set of every change
	slot integer,
	image text,
	conditions jsonb not null default '[]',
	pinned boolean not null default false,
	entered_running_at timestamptz,
	entered_warm_at timestamptz,
	last_busy_at timestamptz,
	backoff_until timestamptz,
	failures integer not null default 0,
	checkpoint_id text,                          -- newest verified checkpoint
	data_generation bigint not null default 0,   -- +1 whenever /data was replaced from a checkpoint
	secrets_epoch bigint not null default 0,     -- epoch last written to the instance
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	foreign key (tenant_id, pool_id) references pool (tenant_id, id),
	unique (tenant_id, id)
);
create index instance_by_pool on instance (tenant_id, pool_id);
create index instance_live on instance (state) where state <> 'destroyed';

-- The journal: a step in progress. At most one unfinished operation per instance.
create table operation (
	id text primary key,
	tenant_id text not null,
	instance_id text not null,
	kind text not null,
	step text not null,
	incarnation bigint not null,
	reason text not null,
	forced boolean not null default false,
	detail jsonb not null default '{}',
	trace_id text,
	started_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	finished_at timestamptz,
	outcome text,
	error jsonb,
	foreign key (tenant_id, instance_id) references instance (tenant_id, id) on delete cascade
);
create unique index operation_one_open on operation (tenant_id, instance_id) where finished_at is null;
create index operation_by_instance on operation (instance_id, started_at desc);

create table secret (
	tenant_id text not null references tenant (id) on delete cascade,
	name text not null,
	version bigint not null,                     -- the tenant's secrets_epoch at the time it was set; never reused
	key_id text not null,                        -- which master key: first 16 hex of its sha256
	nonce bytea not null,
	ciphertext bytea not null,                   -- AES-256-GCM, tag appended; additional data = tenant, name, version
	created_at timestamptz not null default now(),
	primary key (tenant_id, name)
);

create table ingress_message (
	id bigint generated always as identity primary key,
	tenant_id text not null references tenant (id) on delete cascade,
	pool_id text not null,
	channel text not null,
	event_id text not null,
	order_key text not null default '',
	instance_id text,                            -- chosen at delivery
	state text not null default 'pending' check (state in ('pending', 'taken', 'settled', 'dead')),
	path text not null,
	headers jsonb not null,
	body bytea,                                  -- emptied when a checkpoint after the settling one is good; the row stays as the dedupe tombstone
	body_bytes integer not null,
	received_at timestamptz not null default now(),
	attempts integer not null default 0,
	next_attempt_at timestamptz not null default now(),   -- while claimed: when the claim ends by itself
	claimed_by text,                             -- the deliverer at work on it; null: none
	taken_at timestamptz,
	taken_incarnation bigint,
	checkpoint_id text,                          -- the verified checkpoint that contains it
	last_error text,
	trace_id text not null,
	unique (tenant_id, pool_id, channel, event_id)
);
create index ingress_due on ingress_message (tenant_id, pool_id, next_attempt_at, id) where state = 'pending';
create index ingress_taken on ingress_message (instance_id, taken_at) where taken_at is not null and body is not null;
create index ingress_retained on ingress_message (tenant_id) include (body_bytes) where state in ('pending', 'taken', 'dead');
create index ingress_lane on ingress_message (tenant_id, pool_id, channel, order_key, id) where state = 'pending';

create table checkpoint (
	id text primary key,
	tenant_id text not null,
	instance_id text not null,
	parent_id text,                              -- may name a checkpoint that gc has removed since
	manifest_sha256 text not null,
	incarnation bigint not null,
	image text not null,
	schema_versions jsonb not null default '{}',
	entries integer not null,
	bytes bigint not null,
	frozen_at timestamptz not null,              -- messages taken before this moment are contained
	created_at timestamptz not null default now(),
	state text not null check (state in ('good', 'bad')),
	bad_reason text,
	foreign key (tenant_id, instance_id) references instance (tenant_id, id) on delete cascade
);
create index checkpoint_by_instance on checkpoint (instance_id, created_at desc, id desc);

create table event (
	id bigint generated always as identity primary key,
	tenant_id text not null references tenant (id) on delete cascade,
	pool_id text,
	instance_id text,
	kind text not null,
	detail jsonb not null default '{}',
	trace_id text,
	at timestamptz not null default now()
);
create index event_by_tenant on event (tenant_id, id);

create table audit (
	tenant_id text not null,                     -- outlives its tenant
	seq bigint not null,
	at timestamptz not null,
	actor text not null,
	action text not null,
	target text not null,
	outcome text not null,
	detail jsonb not null default '{}',
	trace_id text,
	prev_hash bytea not null,
	hash bytea not null,
	primary key (tenant_id, seq)
);

-- The pinned end of each chain: without it, cutting the newest records off would leave a valid chain.
create table audit_head (
	tenant_id text primary key,
	seq bigint not null,
	hash bytea not null
);

-- A record is accepted only as the next link of its chain; the head moves in the same statement.
create function audit_link() returns trigger language plpgsql as $$
begin
	update audit_head set seq = new.seq, hash = new.hash
		where tenant_id = new.tenant_id and seq = new.seq - 1 and hash = new.prev_hash;
	if not found then
		raise exception 'audit record % of tenant % does not follow the head of its chain', new.seq, new.tenant_id
			using errcode = 'check_violation';
	end if;
	return new;
end $$;
create trigger audit_link before insert on audit for each row execute function audit_link();

create function audit_refuse() returns trigger language plpgsql as $$
begin
	raise exception 'the audit trail is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_append_only before update or delete or truncate on audit execute function audit_refuse();
create trigger audit_head_stays before delete or truncate on audit_head execute function audit_refuse();
create function audit_head_forward() returns trigger language plpgsql as $$
begin
	if new.tenant_id <> old.tenant_id or new.seq < old.seq or (new.seq = old.seq and new.hash <> old.hash) then
		raise exception 'the head of an audit chain only moves forward' using errcode = 'insufficient_privilege';
	end if;
	return new;
end $$;
create trigger audit_head_forward before update on audit_head for each row execute function audit_head_forward();

create table api_key (
	id text primary key,
	tenant_id text references tenant (id) on delete cascade,   -- null: operator
	role text not null check (role in ('operator', 'tenant_admin', 'tenant_user')),
	name text not null,
	hash bytea not null unique,                  -- sha256 of the key
	created_at timestamptz not null default now(),
	revoked_at timestamptz
);

create table idempotency (
	tenant_id text not null,                     -- '' for the operator's own requests (mvm_system only)
	key text not null,
	request_hash bytea not null,
	status integer,
	response jsonb,
	created_at timestamptz not null default now(),
	primary key (tenant_id, key)
);
create index idempotency_by_age on idempotency (created_at);

select protect_tenant_table('tenant', 'id', 'select, insert, update, delete');
select protect_tenant_table('pool', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('instance', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('operation', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('secret', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('ingress_message', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('checkpoint', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('event', 'tenant_id', 'select, insert, delete');
select protect_tenant_table('audit', 'tenant_id', 'select, insert');
select protect_tenant_table('audit_head', 'tenant_id', 'select, insert, update');
select protect_tenant_table('api_key', 'tenant_id', 'select, insert, update, delete');
select protect_tenant_table('idempotency', 'tenant_id', 'select, insert, update, delete');
