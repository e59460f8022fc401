-- The foundation: tenants, pools, instances, operations, secrets, ingress, checkpoints, events, audit, keys.
-- Every tenant table carries tenant_id and forced row-level security; the policy reads the transaction's mvm.tenant.
-- Times are timestamptz; documents are jsonb in wire (snake_case) form.

create table tenant (
	id text primary key,
	quotas jsonb not null,
	created_at timestamptz not null default now(),
	suspended_at timestamptz,
	suspend_reason text,
	secrets_epoch bigint not null default 0,
	config_version bigint not null default 1
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
	foreign key (tenant_id, pool_id) references pool (tenant_id, id)
);
create index instance_by_pool on instance (tenant_id, pool_id);
create index instance_live on instance (state) where state <> 'destroyed';

-- The journal: a step in progress. At most one unfinished operation per instance.
create table operation (
	id text primary key,
	tenant_id text not null references tenant (id) on delete cascade,
	instance_id text not null references instance (id) on delete cascade,
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
	error jsonb
);
create unique index operation_one_open on operation (instance_id) where finished_at is null;
create index operation_by_instance on operation (instance_id, started_at desc);

create table secret (
	tenant_id text not null references tenant (id) on delete cascade,
	name text not null,
	version bigint not null,
	nonce bytea not null,
	ciphertext bytea not null,                   -- AES-256-GCM, tag appended; additional data = tenant, name, version
	created_at timestamptz not null default now(),
	primary key (tenant_id, name, version)
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
	body bytea,                                  -- emptied once settled; the row stays as the dedupe tombstone
	body_bytes integer not null,
	received_at timestamptz not null default now(),
	attempts integer not null default 0,
	next_attempt_at timestamptz not null default now(),
	taken_at timestamptz,
	taken_incarnation bigint,
	checkpoint_id text,                          -- the verified checkpoint that contains it
	last_error text,
	trace_id text not null,
	unique (tenant_id, pool_id, channel, event_id)
);
create index ingress_due on ingress_message (tenant_id, pool_id, next_attempt_at, id) where state = 'pending';
create index ingress_taken on ingress_message (instance_id, taken_at) where state = 'taken';
create index ingress_lane on ingress_message (tenant_id, pool_id, channel, order_key, id) where state = 'pending';

create table checkpoint (
	id text primary key,
	tenant_id text not null references tenant (id) on delete cascade,
	instance_id text not null,
	parent_id text,
	manifest_sha256 text not null,
	incarnation bigint not null,
	image text not null,
	schema_versions jsonb not null default '{}',
	entries integer not null,
	bytes bigint not null,
	frozen_at timestamptz not null,              -- messages taken before this moment are contained
	created_at timestamptz not null default now(),
	state text not null check (state in ('good', 'bad')),
	bad_reason text
);
create index checkpoint_by_instance on checkpoint (instance_id, created_at desc);

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
	tenant_id text not null,
	key text not null,
	request_hash bytea not null,
	status integer,
	response jsonb,
	created_at timestamptz not null default now(),
	primary key (tenant_id, key)
);
