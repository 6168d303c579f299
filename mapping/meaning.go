package mapping

// Meaning says what a key of relay.yaml is for. The JSON Schema shows it in editors, and docs/configuration.md to everybody; a
// test holds the list against the loader.
type Meaning struct {
	Path    string // as in endpoints.<name>.url and source.tables[].name
	Text    string // sentences
	Example string // a value in YAML; empty for a section whose keys have theirs
}

// Meanings are those of all keys, in the order of a file.
func Meanings() []Meaning { return meanings }

var meanings = []Meaning{
	{"source", "The database that is read, and what of it. A change of it needs a restart.", ""},
	{"source.url", "Where Postgres is, as libpq takes it. What is missing comes from the `PG*` variables. Several hosts and `target_session_attrs=read-write` follow a failover. The role needs `REPLICATION`, and may not come through a pooler.", "${DATABASE_URL}"},
	{"source.slot", "The replication slot, which makes Postgres keep its log for this relay. Two relays of one slot are one that delivers and one that stands by.", "relay_orders"},
	{"source.publication", "The publication that has the outbox tables, inserts only.", "relay_orders"},
	{"source.schema", "The schema of relay's own tables, in which it parks.", "relay_orders"},
	{"source.tables", "The outbox tables. An empty list is for logical messages alone.", "[{name: public.outbox}]"},
	{"source.tables[].name", "The table. Names are as in the catalog, case and all; a part with a dot in it stands in double quotes. Without a schema it is in `public`.", "shop.outbox"},
	{"source.tables[].columns", "Which column holds what, where the names are not the default ones.", ""},
	{"source.tables[].columns.id", "The event's id, which becomes `webhook-id`: any type with a text form, without a dot in it.", "event_id"},
	{"source.tables[].columns.type", "The event's type, which subscriptions go by.", "event_type"},
	{"source.tables[].columns.key", "The ordering key; NULL is no order. The table may lack the column unless it is named here.", "aggregateid"},
	{"source.tables[].columns.payload", "The payload: `json`, `jsonb`, `text` or `bytea`.", "body"},
	{"source.tables[].columns.headers", "A JSON object of strings: attributes, `traceparent`. The table may lack the column unless it is named here.", "attributes"},
	{"source.tables[].columns.time", "The event's time; the commit's where it is NULL or the table lacks the column.", "occurred_at"},
	{"source.tables[].retention", "Above 0: a row is deleted this long after it was delivered or discarded everywhere. Of several relays on one table none should have it.", "72h"},
	{"source.messages", "Prefixes of `pg_logical_emit_message(true, prefix, …)` that are events. Any role may emit any prefix, unless that function is revoked.", "[relay]"},
	{"source.existing", "What of the rows that are there before the slot `relay setup` queues: none, all, or those that meet an SQL condition. They go before live ones.", "created_at > now() - interval '1 day'"},
	{"source.on_slot_lost", "When Postgres has dropped the slot: stay up, say so, and drain what is parked; or make another and send again what the outbox still has since the last known position.", "recreate"},
	{"source.window", "The most that may be undelivered in memory. When it is full, reading waits.", ""},
	{"source.window.events", "In events.", "5000"},
	{"source.window.bytes", "In bytes of rows.", "16MiB"},
	{"source.hold", "The longest an undelivered event may hold the slot before it is parked.", "2s"},

	{"defaults", "Any key of an endpoint but `url` and `events`, for all of them. In `retry`, `breaker`, `batch`, `tls` and `headers` an endpoint overrides key by key.", "{timeout: 10s}"},

	{"endpoints", "Who receives, by name: up to 63 letters, digits, `_`, `-` and `.`. The name is the label of metrics and stands in `relay.parked`, so one that is renamed is a new endpoint.", "{billing: {url: https://billing.example.com/webhooks}}"},
	{"endpoints.<name>", "One endpoint.", ""},
	{"endpoints.<name>.url", "Where to POST. Redirects are not followed.", "https://billing.example.com/webhooks"},
	{"endpoints.<name>.events", "The types it wants; `*` matches any run of characters.", "[\"order.*\", invoice.paid]"},
	{"endpoints.<name>.where", "CEL, boolean: which events of these types it wants. Sees `event` (`id`, `type`, `key`, `time`, `headers`, `table`), `payload` and `row`. An expression that fails makes that delivery a dead letter.", "payload.total > 100 && row.tenant == \"acme\""},
	{"endpoints.<name>.body", "CEL: what is sent in place of the payload.", "'{\"id\": event.id, \"total\": payload.total}'"},
	{"endpoints.<name>.format", "How an event becomes a request, with examples in [webhooks](webhooks.md).", "cloudevents"},
	{"endpoints.<name>.source", "CloudEvents' `source`; else `/relay/<slot>/<schema>.<table>`.", "/shop/orders"},
	{"endpoints.<name>.secrets", "Signing secrets: `whsec_…` (HMAC) or `whsk_…` (ed25519). Each signs; the first is the current one. `relay secret new` makes them.", "[\"${BILLING_SECRET}\"]"},
	{"endpoints.<name>.headers", "Request headers of your own. Those that relay sets itself cannot be set.", "{X-Team: billing}"},
	{"endpoints.<name>.auth", "How relay proves who it is; one of three.", ""},
	{"endpoints.<name>.auth.bearer", "A bearer token.", "\"${TOKEN}\""},
	{"endpoints.<name>.auth.basic", "User name and password.", "{username: relay, password: \"${PASSWORD}\"}"},
	{"endpoints.<name>.auth.basic.username", "The user name.", "relay"},
	{"endpoints.<name>.auth.basic.password", "The password.", "\"${PASSWORD}\""},
	{"endpoints.<name>.auth.oauth2", "The client credentials grant; the token is fetched, kept, and fetched anew when it is about to expire or is refused.", "{token_url: https://login.example.com/token, client_id: relay, client_secret: \"${SECRET}\"}"},
	{"endpoints.<name>.auth.oauth2.token_url", "Where tokens come from.", "https://login.example.com/token"},
	{"endpoints.<name>.auth.oauth2.client_id", "The client's id.", "relay"},
	{"endpoints.<name>.auth.oauth2.client_secret", "The client's secret.", "\"${SECRET}\""},
	{"endpoints.<name>.auth.oauth2.scopes", "Scopes to ask for.", "[events.write]"},
	{"endpoints.<name>.tls", "TLS beside the system's roots. Files are read again when they change.", ""},
	{"endpoints.<name>.tls.ca_file", "PEM certificates of the authorities to trust instead of the system's.", "ca.pem"},
	{"endpoints.<name>.tls.cert_file", "PEM certificate to show to the endpoint.", "client.pem"},
	{"endpoints.<name>.tls.key_file", "PEM key of that certificate.", "client.key"},
	{"endpoints.<name>.tls.server_name", "The name the endpoint's certificate has to have, where it is not the host's.", "hooks.internal"},
	{"endpoints.<name>.timeout", "One attempt, from connecting to the last byte of the answer.", "5s"},
	{"endpoints.<name>.concurrency", "Attempts under way at once.", "64"},
	{"endpoints.<name>.rate", "Attempts a second; 0 is unlimited.", "20"},
	{"endpoints.<name>.order", "Which deliveries wait for which: those of a key, in commit order; all, one at a time; none.", "strict"},
	{"endpoints.<name>.batch", "Several events in a request, which only `cloudevents-batch` can.", ""},
	{"endpoints.<name>.batch.events", "At most so many.", "100"},
	{"endpoints.<name>.batch.bytes", "At most so large; a larger event goes alone.", "256KiB"},
	{"endpoints.<name>.batch.wait", "How long to wait for a batch to fill; 0 takes what is there.", "50ms"},
	{"endpoints.<name>.retry", "How often and how long a delivery is tried.", ""},
	{"endpoints.<name>.retry.delays", "The pause after each failed attempt, plus up to a fifth. After the last the delivery is dead.", "[1s, 10s, 1m, 10m, 1h]"},
	{"endpoints.<name>.retry.max_age", "How old a delivery may become before it is dead.", "24h"},
	{"endpoints.<name>.retry.rejected", "Tries in all of a delivery that the endpoint rejects: 400, 413, 415, 422, 3xx.", "1"},
	{"endpoints.<name>.breaker", "When an endpoint is left alone but for probes; what comes meanwhile is parked. 5xx, timeouts and connection errors count.", ""},
	{"endpoints.<name>.breaker.failures", "Failures in a row that open it.", "10"},
	{"endpoints.<name>.breaker.ratio", "Share of failures within `window` that opens it, if there were `requests`.", "0.8"},
	{"endpoints.<name>.breaker.requests", "Attempts within `window` from which `ratio` counts.", "50"},
	{"endpoints.<name>.breaker.window", "Over how long `ratio` is taken; two timeouts or more.", "2m"},
	{"endpoints.<name>.breaker.open", "How long it stays open at first. Doubles while probes fail.", "5s"},
	{"endpoints.<name>.breaker.max_open", "How long it stays open at most.", "5m"},
	{"endpoints.<name>.breaker.probes", "Attempts at once while it finds out; so many successes close it.", "3"},
	{"endpoints.<name>.network", "Which addresses the URL may lead to. `public` denies private, loopback, link-local and metadata addresses: for URLs that others give you.", "[10.0.0.0/8]"},
	{"endpoints.<name>.paused", "Sends nothing; what comes is parked.", "true"},

	{"admin", "The admin HTTP: probes, metrics, API. A change of it needs a restart.", ""},
	{"admin.listen", "Where it listens; `\"\"` is nowhere.", "0.0.0.0:9187"},
	{"admin.token", "The bearer token that all but the probes want. Needed when it does not listen on loopback. With a token, the API shows URLs' paths and payloads too.", "\"${ADMIN_TOKEN}\""},

	{"log", "What is logged, on standard error.", ""},
	{"log.level", "From which level on. Applies live.", "debug"},
	{"log.format", "For people, or a JSON object a line. A change of it needs a restart.", "json"},

	{"shutdown_timeout", "How long attempts under way may go on at stop. Shorter than the patience of whoever stops relay.", "10s"},
}
