package metrics

import (
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// row is one series of the registry. A series whose name ends in _total is a counter, any other a gauge.
type row struct {
	name  string
	label string // "reason=late"; "": none
	from  string // the field that has the value; several with commas between are added up, "-Idle" is subtracted
	help  string // of all series of that name; the first one says it
}

// families are rows, series of one name together: its one field, or "reason: late=Late full=Full", where each value of
// a label has a field.
type families []struct{ name, from, help string }

func (f families) rows() []row {
	n := 0
	for _, one := range f {
		n += max(strings.Count(one.from, "="), 1)
	}
	all := make([]row, 0, n)
	for _, one := range f {
		label, values, labelled := strings.Cut(one.from, ": ")
		if !labelled {
			all = append(all, row{one.name, "", one.from, one.help})
			continue
		}
		for pair := range strings.FieldsSeq(values) {
			value, from, _ := strings.Cut(pair, "=")
			all = append(all, row{one.name, label + "=" + value, from, one.help})
		}
	}
	return all
}

// engineRows are read from an engine.Stats.
var engineRows = families{
	{"edge_connections_total", "Accepted", "Connections of clients accepted."},
	{"edge_connections_handed_off_total", "HandedOff", "Connections given to an event loop with fewer of them."},
	{"edge_connections_released_total", "Released", "Connections given to another process."},
	{"edge_connections_received_total", "Received", "Connections taken over from another process."},
	{"edge_connections_closed_total", "Closed", "Connections closed, those to backends among them."},
	{"edge_connections_rejected_total", "reason: unread_bytes=ReadFull send_queue=QueueFull",
		"Connections closed because a limit was hit."},
	{"edge_accept_paused_total", "AcceptPaused", "Times accepting paused: descriptors, limits.connections, memory."},
	{"edge_connections_yielded_total", "Yielded",
		"Idle connections closed for new ones: limits.connections, descriptors."},
	{"edge_accept_failed_total", "AcceptFailed", "Connections that died before they were accepted."},
	{"edge_read_paused_total", "ReadPaused", "Reads put off because memory is short."},
	{"edge_connections_given_up_total", "GivenUp",
		"Closing connections whose peer took nothing, cut because memory is short."},
	{"edge_received_bytes_total", "BytesIn", "Bytes read, from clients and backends."},
	{"edge_sent_bytes_total", "BytesOut", "Bytes written, to clients and backends."},
	{"edge_spliced_bytes_total", "BytesSpliced", "Bytes of those read that went on inside the kernel."},
	{"edge_pipes_refused_total", "PipesRefused", "Splices that found no pipe."},
	{"edge_loop_ticks_total", "Ticks", "Turns of the event loops."},
	{"edge_loop_events_total", "Events", "Events that the kernel reported."},
	{"edge_loop_stale_events_total", "StaleEvents", "Events for a connection that had just been closed."},
	{"edge_loop_tasks_total", "Tasks", "Tasks that event loops were given."},
	{"edge_loop_slow_ticks_total", "SlowTicks", "Turns longer than 10 ms."},
	{"edge_loop_cut_total", "what: tasks=MailCut connections=TurnsCut", "Turns that left work for the next one."},
	{"edge_connect_timeouts_total", "ConnectTimeouts", "Connections to backends that were not established in time."},
	{"edge_connect_retries_total", "Redials", "Attempts repeated on a Unix socket whose backlog was full."},
	{"edge_send_timeouts_total", "SendTimeouts", "Connections closed because the peer did not take what was left."},
	{"edge_panics_total", "in: connection=Panics job=OffloadPanics", "Panics that were caught."},
	{"edge_shed_total", "reason: jobs=OffloadRefused", "Work refused because there was too much of it."},

	{"edge_buffer_bytes", "BufBytes", "Memory in buffers of connections and in exchanges, as the budget counts it."},
	{"edge_buffer_free_bytes", "BufKept", "Memory kept for later connections and requests, as the budget counts it."},
	{"edge_timers", "Timers", "Timers armed."},
}.rows()

// proxyRows are read from a proxy.Stats.
var proxyRows = families{
	{"edge_requests_refused_total", "Refused", "Requests refused because they could not be read."},
	{"edge_answers_own_total", "Own", "Answers of the proxy's own, errors among them."},
	{"edge_answers_cut_total", "Cut", "Answers cut off because the backend failed after the head."},
	{"edge_clients_gone_total", "ClientGone", "Requests whose client left before the answer."},
	{"edge_loops_detected_total", "Loops", "Requests in a loop of proxies."},
	{"edge_failovers_total", "Failovers", "Requests that went to the failover of their upstream."},
	{"edge_retries_denied_total", "RetriesDenied", "Retries that the budget of an upstream was too small for."},
	{"edge_hedges_total", "result: won=Hedges.Won lost=Hedges.Lost failed=Hedges.Failed cancelled=Hedges.Cancelled",
		"Requests sent to a second backend because the first one did not answer in time."},
	{"edge_hedges_denied_total", "Hedges.Denied", "Hedges that the budget of an upstream was too small for."},
	{"edge_hedges_closed_total", "Hedges.Closed", "HTTP/1 connections closed since another backend answered first."},
	{"edge_bodies_too_large_total", "TooLarge", "Request bodies above limits.body_size."},
	{"edge_requests_expired_total", "Expired", "Requests that took longer than timeouts.total."},
	{"edge_tunnels_total", "Tunnels", "Requests that became tunnels."},
	{"edge_tunnels_idle_total", "TunnelsIdle", "Tunnels closed because of timeouts.idle."},
	{"edge_interims_dropped_total", "InterimsLost", "Interim answers above the limit of a request."},
	{"edge_bodies_cut_total", "BodiesCut",
		"Requests in whose body a member was looked for that may be in the part that read_body has not read."},
	{"edge_subrequests_total", "result: made=Subs dropped=SubsDropped",
		"Requests that filters asked for; without a parent they are dropped above 64 on an event loop."},
	{"edge_late_resumes_total", "LateResumes", "Parked requests resumed after their end."},
	{"edge_panics_total", "in: filter=Panics", ""},
	{"edge_shed_total", "reason: requests=Shed max_requests=ShedRequests max_pending=ShedPending " +
		"concurrency=ShedAdaptive", ""},
	{"edge_log_records_total", "result: logged=Logs.Written sampled=Logs.Sampled condition=Logs.Unwanted " +
		"rule=Logs.Unlogged",
		"Requests of listeners and routes with an access log; all but those logged were left out by it."},
	{"edge_texts_cut_total", "Language.Cut",
		"Texts made by conditions and templates that were cut off for want of room, and matches without groups."},
	{"edge_regex_tables_dropped_total", "reason: full=Language.Patterns.Flushed rest=Language.Patterns.Rested",
		"Tables of regular expressions that were given up and built anew, or that rest for a while."},
	{"edge_regex_states_total", "Language.Patterns.Built",
		"States of the tables of regular expressions that were built."},
	{"edge_regex_without_table_bytes_total", "Language.Patterns.Left",
		"Bytes that regular expressions matched without a table, which takes ten times as long."},
	{"edge_regex_given_up_total", "what: table=Language.Patterns.Abandoned groups=Language.Patterns.Ungrouped",
		"Texts that would have needed too much of a table, or too much time to find groups."},

	{"edge_regex_tables", "Language.Patterns.Patterns", "Tables of regular expressions, of each event loop."},
	{"edge_regex_table_bytes", "Language.Patterns.Bytes", "Memory of the tables of regular expressions."},
	{"edge_requests_active", "Active", "Requests in progress."},
}.rows()

// tlsRows are read from a tlsconn.Stats.
var tlsRows = families{
	{"edge_tls_sessions_resumed_total", "Resumed", "TLS sessions resumed, those with backends among them."},
	{"edge_tls_handshakes_failed_total", "reason: refused=Failed timeout=Timeouts crowded=Crowded full=Full " +
		"late=Late left=Left", "TLS handshakes that failed, those with backends among them."},
	{"edge_tls_passed_total", "Passed", "Connections that a rule on handshakes has led elsewhere as they were."},
	{"edge_tls_plain_total", "result: taken=Plain refused=Refused", "Plain connections to a TLS listener."},

	{"edge_tls_handshakes_active", "Current", "TLS handshakes in progress."},
	{"edge_tls_handshakes_queued", "Queued", "TLS handshakes that wait for a processor."},
}.rows()

// listenerRows are read from a Listener.
var listenerRows = families{
	{"edge_listener_requests_total", "Requests", "Requests that came in."},
	{"edge_listener_malformed_total", "Malformed", "Requests refused because of their syntax or size."},
	{"edge_listener_timeouts_total", "Timeouts", "Request heads and bodies that did not come in time."},
	{"edge_listener_unread_total", "Unread", "Connections closed because the answer ended before the request."},
	{"edge_listener_slow_bodies_total", "SlowBodies", "Request bodies slower than limits.min_rate, or silent."},
	{"edge_listener_half_closed_total", "HalfClosed", "Requests given up because of limits.half_close_wait."},
	{"edge_listener_tunnels_total", "Tunnels", "Connections that became tunnels."},
	{"edge_listener_h2_connections_total", "H2", "Connections that spoke HTTP/2."},
	{"edge_listener_h2_shed_total", "Shed", "Streams of HTTP/2 refused because memory is short."},
	{"edge_listener_h3_connections_total", "H3", "Connections that spoke HTTP/3."},
	{"edge_listener_h3_shed_total", "H3Shed", "Streams of HTTP/3 refused because memory is short."},
	{"edge_listener_given_up_total", "GivenUp",
		"Requests that waited for their client, given up because memory is short."},
	{"edge_drain_closed_total", "kind: idle=DrainedIdle h2=DrainedH2 h3=DrainedH3 tunnel=DrainedTunnels",
		"Connections and tunnels that the last third of a drain has ended."},

	{"edge_connections", "proto: h1=Conns,-H2Open h2=H2Open h3=H3Open",
		"Connections of clients open; those that have not said yet what they speak are among h1."},
}.rows()

// bareRows are read from a Bare.
var bareRows = families{
	{"edge_connections", "proto: service=Conns", "Connections of clients open."},
}.rows()

// upstreamRows are read from an upstream.Stats.
var upstreamRows = families{
	{"edge_upstream_reuse_total", "Taken", "Requests that got an idle connection."},
	{"edge_upstream_dials_total", "Dialed", "Connections begun."},
	{"edge_upstream_dials_failed_total", "DialFailed", "Connections that were never established."},
	{"edge_upstream_passed_over_total", "PassedOver", "Addresses that could not be reached, and are passed over."},
	{"edge_upstream_unasked_total", "Unasked", "Connections closed because bytes came before the first request."},
	{"edge_backend_surplus_total", "Surplus", "Connections closed because bytes came after the end of an answer."},
	{"edge_upstream_stale_total", "Stale", "Idle connections found closed when they were to be used."},
	{"edge_upstream_evicted_total", "Evicted", "Idle connections closed because of pool.idle."},
	{"edge_upstream_aged_total", "limit: max_lifetime=TooOld max_requests=WornOut",
		"Connections closed because of their age or use."},
	{"edge_upstream_wanted_total", "Wanted", "Idle connections asked of other event loops."},
	{"edge_upstream_given_total", "Given", "Idle connections given to other event loops."},
	{"edge_upstream_h2_gone_away_total", "GoneAway", "HTTP/2 connections that the backend ended by GOAWAY."},
	{"edge_upstream_yielded_total", "Yielded", "Connections closed for requests that wait on another event loop."},
	{"edge_upstream_taken_over_total", "TakenOver", "Requests that got an idle connection of another event loop."},
	{"edge_upstream_wants_failed_total", "reason: none=WantsEmpty late=WantsLate",
		"Idle connections asked for and not given."},
	{"edge_upstream_gives_late_total", "LateGives", "Connections given when no request waited any more."},
	{"edge_upstream_gives_lost_total", "LostGives", "Connections closed on their way between event loops."},
	{"edge_upstream_queued_total", "Queued", "Requests that waited because of pool.max_per_backend."},
	{"edge_upstream_queue_refused_total", "limit: queue=QueueFull queue_timeout=QueueTimeouts",
		"Requests answered 503 because of pool.max_per_backend."},

	{"edge_upstream_connections", "state: idle=Idle active=Connections,-Idle,-Shared shared=Shared",
		"Connections to backends open."},
	{"edge_upstream_waiting", "Waiting", "Requests that wait for a connection to a backend."},
}.rows()

// listenerH2Rows are read from the h2.Stats of a listener.
var listenerH2Rows = families{
	{"edge_listener_h2_streams_total", "Streams", "Streams opened."},
	{"edge_listener_h2_resets_total", "by: client=ResetsIn proxy=ResetsOut", "Streams reset."},
	{"edge_listener_h2_refused_total", "Refused", "Streams above the number that a connection may have open."},
	{"edge_listener_h2_faults_total", "Faults", "Connections ended for a fault of the client, abuse among them."},
	{"edge_listener_h2_heads_refused_total", "why: malformed=Malformed too_large=HeadTooLarge",
		"Heads refused before any route."},
	{"edge_listener_h2_heads_unsent_total", "PeerListSize",
		"Heads and trailers of answers that are larger than the client takes."},
	{"edge_listener_h2_pings_total", "Pings", "PING frames answered."},
	{"edge_listener_h2_timeouts_total", "for: settings=SettingsTimeout ping=PingTimeout head=HeadTimeout",
		"Connections ended because something did not come in time."},
	{"edge_listener_h2_stalled_total", "who: client=StalledPeer backend=StalledReader",
		"Streams reset because their data was not taken."},
	{"edge_listener_h2_abuse_total", "kind: rapid_reset=RapidReset made_you_reset=MadeYouReset " +
		"continuation=ContinuationFlood header_bomb=HeaderBomb settings=SettingsFlood ping=PingFlood " +
		"priority=PriorityFlood empty_frames=EmptyFrameFlood window_update=WindowUpdateFlood tiny_window=TinyWindow " +
		"closed_streams=StrayFlood", "Connections ended for abuse."},
}.rows()

// listenerH3Rows are read from the h3.Stats of a listener that serves HTTP/3.
var listenerH3Rows = families{
	{"edge_listener_h3_streams_total", "Streams", "Streams of requests opened."},
	{"edge_listener_h3_resets_total", "by: client=ResetsIn proxy=ResetsOut", "Streams reset."},
	{"edge_listener_h3_refused_total", "Refused", "Streams that came after GOAWAY."},
	{"edge_listener_h3_faults_total", "Faults",
		"Connections ended for a fault of the client in HTTP/3, abuse among them."},
	{"edge_listener_h3_heads_refused_total", "why: malformed=Malformed too_large=HeadTooLarge",
		"Heads refused before any route."},
	{"edge_listener_h3_heads_unsent_total", "PeerListSize",
		"Heads and trailers of answers that are larger than the client takes."},
	{"edge_listener_h3_timeouts_total", "for: head=HeadTimeout", "Heads that did not come in time."},
	{"edge_listener_h3_abuse_total", "kind: rapid_reset=RapidReset made_you_reset=MadeYouReset " +
		"header_bomb=HeaderBomb unknown=UnknownFlood priority=PriorityFlood empty_frames=EmptyFlood",
		"Connections ended for abuse."},
}.rows()

// quicRows are read from the QUIC of a listener that serves HTTP/3.
var quicRows = families{
	{"edge_quic_datagrams_total", "direction: in=Received out=Sent", "Datagrams received and sent."},
	{"edge_quic_dropped_total", "why: unknown=Unknown address=Codec.Strays unopened=Codec.Unopened " +
		"foreign=Codec.Foreign early=Codec.Early gaps=Codec.Gaps tossed=MailLost passed=PassLost unsent=Unsent",
		"Datagrams dropped, or packets in them; unsent: the kernel refused to send them."},
	{"edge_quic_packets_lost_total", "Codec.Lost", "Packets sent to clients that did not arrive."},
	{"edge_quic_retries_total", "Retries", "Clients asked to prove their address first: Retry packets sent."},
	{"edge_quic_refused_total", "code: connection_refused=Refused invalid_token=BadTokens",
		"First packets of clients that got no connection, by the code that tells them so."},
	{"edge_quic_resets_sent_total", "Resets", "Stateless resets sent: for packets of connections that are gone."},
	{"edge_quic_moves_total", "result: success=Codec.Moves failure=Codec.MovesFailed",
		"Clients followed to another address, and addresses that did not answer."},
	{"edge_quic_held_total", "Codec.Held",
		"Times that an address had got three times the bytes that came from it, and has to prove itself for more."},
	{"edge_quic_tossed_total", "to: loop=Mailed process=Passed",
		"Datagrams that came to another event loop than their connection's, or to another process: after an upgrade."},
	{"edge_quic_faults_total", "Codec.Faults",
		"Connections ended for a fault of the client in QUIC, abuse among them."},
	{"edge_quic_abuse_total", "kind: idle_frames=Codec.IdleFrames key_updates=Codec.KeyUpdates",
		"Connections ended for abuse."},
}.rows()

// abuse are the fields of an h2.Stats that count kinds of it.
const abuse = "RapidReset,MadeYouReset,ContinuationFlood,HeaderBomb,SettingsFlood,PingFlood,PriorityFlood," +
	"EmptyFrameFlood,WindowUpdateFlood,TinyWindow,StrayFlood"

// upstreamH2Rows are read from the h2.Stats of an upstream. Kinds of abuse are not told apart: backends are few and
// known, and upstreams may be many.
var upstreamH2Rows = families{
	{"edge_upstream_h2_streams_total", "Streams", "Streams opened."},
	{"edge_upstream_h2_resets_total", "by: backend=ResetsIn proxy=ResetsOut", "Streams reset."},
	{"edge_upstream_h2_heads_refused_total", "why: malformed=Malformed too_large=HeadTooLarge",
		"Heads of answers that were not passed on."},
	{"edge_upstream_h2_heads_unsent_total", "PeerListSize",
		"Heads and trailers of requests that are larger than the backend takes."},
	{"edge_upstream_h2_pings_total", "Pings", "PING frames answered."},
	{"edge_upstream_h2_faults_total", "Faults", "Connections ended for a fault of the backend, abuse among them."},
	{"edge_upstream_h2_abuse_total", abuse, "Connections ended for abuse."},
	{"edge_upstream_h2_timeouts_total", "for: settings=SettingsTimeout ping=PingTimeout head=HeadTimeout",
		"Connections ended because something did not come in time."},
	{"edge_upstream_h2_stalled_total", "who: backend=StalledPeer client=StalledReader",
		"Streams reset because their data was not taken."},
}.rows()

// certificateRows are read from a Sample.
var certificateRows = families{
	{"edge_certificates", "Certificates", "Certificates in use."},
	{"edge_certificate_first_expiry_timestamp_seconds", "FirstExpiry", "When the first certificate expires."},
}.rows()

// ejectionRows are read from a Service.
func ejectionRows() (rows []row) {
	for i := range (ejection.Counts{}) {
		reason := strings.TrimPrefix(ejection.Cause(i).String(), "ejected_")
		rows = append(rows, row{
			"edge_ejections_total", "reason=" + reason, "Ejections." + strconv.Itoa(i), "Backends ejected.",
		})
	}
	return rows
}

// registrationRows are read from a Registrations.
var registrationRows = families{
	{"edge_register_puts_total", "result: success=Puts,-Failures failure=Failures",
		"Entries of [register] put into a registry, or renewed."},
	{"edge_registrations", "state: known=Known unknown=Unknown", "Entries of [register], by whether others find them."},
}.rows()

// dynamicRows are read from a dynamic.Stats.
var dynamicRows = families{
	{"edge_dest_refused_total", "why: malformed=Refused.0 unlisted=Refused.1 address=Refused.2 own_listener=Refused.3",
		"Requests refused because of where they were to lead."},
	{"edge_dest_unresolved_total", "Unresolved", "Requests whose destination has no address."},
	{"edge_dest_waited_total", "Waited", "Requests that waited for the addresses of their destination."},
	{"edge_dest_shed_total", "Shed", "Requests refused because too many names are looked up."},
	{"edge_dest_lookups_total", "Lookups", "Look-ups of destinations."},
	{"edge_dest_evicted_total", "Evicted", "Destinations forgotten for others."},

	{"edge_dest_known", "Destinations", "Destinations known, those that lead nowhere among them."},
}.rows()

// memberRows are read from a backend.Stats.
var memberRows = families{
	{"edge_upstream_panics_total", "Panics", "Times too few backends served, and others got requests too: panic."},
	{"edge_upstream_panic", "Panicking", "1 while that lasts."},
}.rows()

// resultRows are the rows of a series with the results of a health.Stats.
func resultRows(name, help string) []row {
	rows := []row{{name, "result=passed", "Passed", help}}
	for i, word := range health.Words() {
		rows = append(rows, row{name, "result=" + word, "Failed." + strconv.Itoa(i), ""})
	}
	return rows
}

// agentRows are read from a health.Stats.
func agentRows() []row {
	return resultRows("edge_agent_results_total", "Agents of backends asked, by result.")
}

// limitRows are read from an admission.Stats.
var limitRows = families{
	{"edge_breaker_queued_total", "Queued", "Requests that waited because of breaker."},
	{"edge_breaker_refused_total", "limit: max_pending=Full queue_timeout=Expired",
		"Requests answered 503 because of breaker."},
	{"edge_breaker_retries_denied_total", "Retries", "Retries not made because of breaker.max_retries."},

	{"edge_breaker_requests", "Total", "Requests under way at the backends of an upstream with breaker."},
	{"edge_breaker_limit", "Limit", "The limit of these that breaker.adaptive has found."},
	{"edge_breaker_waiting", "Waiting", "Requests that wait because of breaker."},
	{"edge_breaker_open", "Open", "1: requests wait because of breaker, or were refused within the last second."},
}.rows()

// checkRows are read from a health.Stats.
func checkRows() []row {
	rows := resultRows("edge_check_results_total", "Checks of backends that have ended, by result.")
	return append(rows, families{
		{"edge_check_excused_total", "Excused",
			"Checks without an answer in time that do not count: edge was late, or the backend answers clients."},
		{"edge_check_doubted_total", "Doubted", "Verdicts that waited, since many backends failed together."},
		{"edge_check_replaced_total", "Replaced", "Checks left out, since requests were answered: passive_counts."},
		{"edge_check_delayed_total", "Delayed", "Checks that waited, since too many others were connecting."},
		{"edge_check_connections_total", "Fresh", "Connections of checks begun."},
		{"edge_check_verdicts_total", "to: down=Downs up=Ups", "Backends that checks took down, or brought up."},
		{"edge_check_backends", "state: up=Members,-Down down=Down", "Backends that are checked."},
	}.rows()...)
}
