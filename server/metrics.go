package server

import (
	"log/slog"
	"strings"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/tlsconn"
	"github.com/edge-proxy/edge/upstream"
)

// row is one series of the registry: how it is called and where its value stands.
type row[S any] struct {
	name, help   string
	label, value string
	read         func(*S) uint64
}

var engineRows = []row[engine.Stats]{
	{"edge_connections_total", "Connections of clients accepted.", "", "",
		func(s *engine.Stats) uint64 { return s.Accepted }},
	{"edge_connections_handed_off_total", "Connections given to an event loop with fewer of them.", "", "",
		func(s *engine.Stats) uint64 { return s.HandedOff }},
	{"edge_connections_closed_total", "Connections closed, those to backends among them.", "", "",
		func(s *engine.Stats) uint64 { return s.Closed }},
	{"edge_connections_rejected_total", "Connections closed because a limit was hit.", "reason", "unread_bytes",
		func(s *engine.Stats) uint64 { return s.ReadFull }},
	{"edge_connections_rejected_total", "", "reason", "send_queue",
		func(s *engine.Stats) uint64 { return s.QueueFull }},
	{"edge_accept_paused_total", "Times accepting paused: descriptors, limits.connections, memory.", "", "",
		func(s *engine.Stats) uint64 { return s.AcceptPaused }},
	{"edge_connections_yielded_total", "Idle connections closed for new ones: limits.connections, descriptors.", "", "",
		func(s *engine.Stats) uint64 { return s.Yielded }},
	{"edge_accept_failed_total", "Connections that died before they were accepted.", "", "",
		func(s *engine.Stats) uint64 { return s.AcceptFailed }},
	{"edge_read_paused_total", "Reads put off because memory is short.", "", "",
		func(s *engine.Stats) uint64 { return s.ReadPaused }},
	{"edge_connections_given_up_total", "Closing connections that took nothing, cut for want of memory.", "", "",
		func(s *engine.Stats) uint64 { return s.GivenUp }},
	{"edge_received_bytes_total", "Bytes read, from clients and backends.", "", "",
		func(s *engine.Stats) uint64 { return s.BytesIn }},
	{"edge_sent_bytes_total", "Bytes written, to clients and backends.", "", "",
		func(s *engine.Stats) uint64 { return s.BytesOut }},
	{"edge_spliced_bytes_total", "Bytes of those read that went on inside the kernel.", "", "",
		func(s *engine.Stats) uint64 { return s.BytesSpliced }},
	{"edge_pipes_refused_total", "Times that there was no pipe to splice with.", "", "",
		func(s *engine.Stats) uint64 { return s.PipesRefused }},
	{"edge_loop_ticks_total", "Turns of the event loops.", "", "",
		func(s *engine.Stats) uint64 { return s.Ticks }},
	{"edge_loop_events_total", "Events that the kernel reported.", "", "",
		func(s *engine.Stats) uint64 { return s.Events }},
	{"edge_loop_stale_events_total", "Events for a connection that had just been closed.", "", "",
		func(s *engine.Stats) uint64 { return s.StaleEvents }},
	{"edge_loop_tasks_total", "Tasks that event loops were given.", "", "",
		func(s *engine.Stats) uint64 { return s.Tasks }},
	{"edge_loop_slow_ticks_total", "Turns longer than 10 ms.", "", "",
		func(s *engine.Stats) uint64 { return s.SlowTicks }},
	{"edge_loop_cut_total", "Turns that left work for the next one.", "what", "tasks",
		func(s *engine.Stats) uint64 { return s.MailCut }},
	{"edge_loop_cut_total", "", "what", "connections", func(s *engine.Stats) uint64 { return s.TurnsCut }},
	{"edge_connect_timeouts_total", "Connections to backends that did not stand in time.", "", "",
		func(s *engine.Stats) uint64 { return s.ConnectTimeouts }},
	{"edge_connect_retries_total", "Attempts repeated on a Unix socket whose backlog was full.", "", "",
		func(s *engine.Stats) uint64 { return s.Redials }},
	{"edge_send_timeouts_total", "Connections closed because the peer did not take what was left.", "", "",
		func(s *engine.Stats) uint64 { return s.SendTimeouts }},
	{"edge_panics_total", "Panics that were caught.", "in", "connection",
		func(s *engine.Stats) uint64 { return s.Panics }},
	{"edge_panics_total", "", "in", "job", func(s *engine.Stats) uint64 { return s.OffloadPanics }},
	{"edge_shed_total", "Work refused because there was too much of it.", "reason", "jobs",
		func(s *engine.Stats) uint64 { return s.OffloadRefused }},
}

var proxyRows = []row[proxy.Stats]{
	{"edge_requests_total", "Requests answered.", "code", "1xx",
		func(s *proxy.Stats) uint64 { return s.Answered[1] }},
	{"edge_requests_total", "", "code", "2xx", func(s *proxy.Stats) uint64 { return s.Answered[2] }},
	{"edge_requests_total", "", "code", "3xx", func(s *proxy.Stats) uint64 { return s.Answered[3] }},
	{"edge_requests_total", "", "code", "4xx", func(s *proxy.Stats) uint64 { return s.Answered[4] }},
	{"edge_requests_total", "", "code", "5xx", func(s *proxy.Stats) uint64 { return s.Answered[5] }},
	{"edge_requests_refused_total", "Requests refused because they could not be read.", "", "",
		func(s *proxy.Stats) uint64 { return s.Refused }},
	{"edge_answers_own_total", "Answers of the proxy's own, errors among them.", "", "",
		func(s *proxy.Stats) uint64 { return s.Own }},
	{"edge_answers_cut_total", "Answers cut off because the backend failed behind the head.", "", "",
		func(s *proxy.Stats) uint64 { return s.Cut }},
	{"edge_clients_gone_total", "Requests whose client left before the answer.", "", "",
		func(s *proxy.Stats) uint64 { return s.ClientGone }},
	{"edge_loops_detected_total", "Requests that went in circles.", "", "",
		func(s *proxy.Stats) uint64 { return s.Loops }},
	{"edge_retries_total", "Further attempts of requests.", "", "",
		func(s *proxy.Stats) uint64 { return s.Retries }},
	{"edge_bodies_too_large_total", "Request bodies above limits.body_size.", "", "",
		func(s *proxy.Stats) uint64 { return s.TooLarge }},
	{"edge_requests_expired_total", "Requests that took longer than timeouts.total.", "", "",
		func(s *proxy.Stats) uint64 { return s.Expired }},
	{"edge_tunnels_total", "Requests that became tunnels.", "", "",
		func(s *proxy.Stats) uint64 { return s.Tunnels }},
	{"edge_tunnels_idle_total", "Tunnels closed because of timeouts.idle.", "", "",
		func(s *proxy.Stats) uint64 { return s.TunnelsIdle }},
	{"edge_interims_dropped_total", "Interim answers above the limit of a request.", "", "",
		func(s *proxy.Stats) uint64 { return s.InterimsLost }},
	{"edge_late_resumes_total", "Parked requests resumed when they were over.", "", "",
		func(s *proxy.Stats) uint64 { return s.LateResumes }},
	{"edge_panics_total", "", "in", "filter", func(s *proxy.Stats) uint64 { return s.Panics }},
	{"edge_shed_total", "", "reason", "requests", func(s *proxy.Stats) uint64 { return s.Shed }},
}

var secureRows = []row[tlsconn.Stats]{
	{"edge_tls_sessions_resumed_total", "Sessions that TLS took up again, those with backends among them.", "", "",
		func(s *tlsconn.Stats) uint64 { return s.Resumed }},
	{"edge_tls_handshakes_failed_total", "TLS handshakes that failed, those with backends among them.",
		"reason", "refused", func(s *tlsconn.Stats) uint64 { return s.Failed }},
	{"edge_tls_handshakes_failed_total", "", "reason", "timeout", func(s *tlsconn.Stats) uint64 { return s.Timeouts }},
	{"edge_tls_handshakes_failed_total", "", "reason", "crowded", func(s *tlsconn.Stats) uint64 { return s.Crowded }},
	{"edge_tls_handshakes_failed_total", "", "reason", "full", func(s *tlsconn.Stats) uint64 { return s.Full }},
	{"edge_tls_handshakes_failed_total", "", "reason", "late", func(s *tlsconn.Stats) uint64 { return s.Late }},
	{"edge_tls_handshakes_failed_total", "", "reason", "left", func(s *tlsconn.Stats) uint64 { return s.Left }},
	{"edge_tls_plain_total", "Connections without TLS where it can be spoken.", "result", "taken",
		func(s *tlsconn.Stats) uint64 { return s.Plain }},
	{"edge_tls_plain_total", "", "result", "refused", func(s *tlsconn.Stats) uint64 { return s.Refused }},
}

var listenerRows = []row[listenerStats]{
	{"edge_listener_requests_total", "Requests that came in.", "", "",
		func(s *listenerStats) uint64 { return s.Requests }},
	{"edge_listener_malformed_total", "Requests refused because of their syntax or size.", "", "",
		func(s *listenerStats) uint64 { return s.Malformed }},
	{"edge_listener_timeouts_total", "Request heads and bodies that did not come in time.", "", "",
		func(s *listenerStats) uint64 { return s.Timeouts }},
	{"edge_listener_unread_total", "Connections closed because the answer ended before the request.", "", "",
		func(s *listenerStats) uint64 { return s.Unread }},
	{"edge_listener_slow_bodies_total", "Request bodies slower than limits.min_rate, or silent.", "", "",
		func(s *listenerStats) uint64 { return s.SlowBodies }},
	{"edge_listener_half_closed_total", "Requests given up because of limits.half_close_wait.", "", "",
		func(s *listenerStats) uint64 { return s.HalfClosed }},
	{"edge_listener_tunnels_total", "Connections that became tunnels.", "", "",
		func(s *listenerStats) uint64 { return s.Tunnels }},
	{"edge_listener_h2_connections_total", "Connections that spoke HTTP/2.", "", "",
		func(s *listenerStats) uint64 { return s.H2 }},
	{"edge_listener_h2_shed_total", "Streams of HTTP/2 refused for want of memory.", "", "",
		func(s *listenerStats) uint64 { return s.Shed }},
	{"edge_listener_given_up_total", "Requests that clients kept waiting, given up for want of memory.", "", "",
		func(s *listenerStats) uint64 { return s.GivenUp }},
}

var upstreamRows = []row[upstream.Stats]{
	{"edge_upstream_reuse_total", "Requests that got an idle connection.", "", "",
		func(s *upstream.Stats) uint64 { return s.Taken }},
	{"edge_upstream_dials_total", "Connections begun.", "", "",
		func(s *upstream.Stats) uint64 { return s.Dialed }},
	{"edge_upstream_dials_failed_total", "Connections that never stood.", "", "",
		func(s *upstream.Stats) uint64 { return s.DialFailed }},
	{"edge_upstream_unasked_total", "Connections closed because bytes came that nobody had asked for.", "", "",
		func(s *upstream.Stats) uint64 { return s.Unasked }},
	{"edge_upstream_stale_total", "Idle connections found closed when they were to be used.", "", "",
		func(s *upstream.Stats) uint64 { return s.Stale }},
	{"edge_upstream_evicted_total", "Idle connections closed because of pool.idle.", "", "",
		func(s *upstream.Stats) uint64 { return s.Evicted }},
	{"edge_upstream_aged_total", "Connections closed because of their age or use.", "limit", "max_lifetime",
		func(s *upstream.Stats) uint64 { return s.TooOld }},
	{"edge_upstream_aged_total", "", "limit", "max_requests",
		func(s *upstream.Stats) uint64 { return s.WornOut }},
	{"edge_upstream_wanted_total", "Idle connections asked of other event loops.", "", "",
		func(s *upstream.Stats) uint64 { return s.Wanted }},
	{"edge_upstream_given_total", "Idle connections given to other event loops.", "", "",
		func(s *upstream.Stats) uint64 { return s.Given }},
	{"edge_upstream_h2_gone_away_total", "Connections of HTTP/2 that the backend let end.", "", "",
		func(s *upstream.Stats) uint64 { return s.GoneAway }},
	{"edge_upstream_yielded_total", "Connections closed for requests that wait on another event loop.", "", "",
		func(s *upstream.Stats) uint64 { return s.Yielded }},
	{"edge_upstream_taken_over_total", "Requests that got an idle connection of another event loop.", "", "",
		func(s *upstream.Stats) uint64 { return s.TakenOver }},
	{"edge_upstream_wants_failed_total", "Idle connections asked for in vain.", "reason", "none",
		func(s *upstream.Stats) uint64 { return s.WantsEmpty }},
	{"edge_upstream_wants_failed_total", "", "reason", "late",
		func(s *upstream.Stats) uint64 { return s.WantsLate }},
	{"edge_upstream_gives_late_total", "Connections given when nobody waited any more.", "", "",
		func(s *upstream.Stats) uint64 { return s.LateGives }},
	{"edge_upstream_gives_lost_total", "Connections closed on their way between event loops.", "", "",
		func(s *upstream.Stats) uint64 { return s.LostGives }},
	{"edge_upstream_queued_total", "Requests that waited because of pool.max_per_backend.", "", "",
		func(s *upstream.Stats) uint64 { return s.Queued }},
	{"edge_upstream_queue_refused_total", "Requests answered 503 because of pool.max_per_backend.", "limit", "queue",
		func(s *upstream.Stats) uint64 { return s.QueueFull }},
	{"edge_upstream_queue_refused_total", "", "limit", "queue_timeout",
		func(s *upstream.Stats) uint64 { return s.QueueTimeouts }},
}

// init registers what exists once. Before s serves anybody.
func (c *counters) init(s *Server) {
	c.now, c.past = newSample(), newSample()
	c.reloads = make(map[bool]uint64)
	c.listeners, c.upstreams, c.h2Upstreams = make(map[string]bool), make(map[string]bool), make(map[string]bool)
	c.sinks = make(map[*observe.Sink]bool)
	register(c, engineRows, nil, func() engine.Stats { return c.now.engine })
	register(c, proxyRows, nil, func() proxy.Stats { return c.now.proxy })
	register(c, secureRows, nil, func() tlsconn.Stats { return c.now.secure })
	c.initCertificates(s)
	c.initEvents(s.opts.events)
	for result, ok := range map[string]bool{"success": true, "failure": false} {
		c.registry.CounterFunc("edge_config_reloads_total", "Reloads of the configuration.", func() uint64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.reloads[ok]
		}, observe.Label{Name: "result", Value: result})
	}
	c.gauge("edge_config_last_success_timestamp_seconds", "When the present configuration was applied.", nil,
		func() float64 { return float64(c.reloaded.UnixNano()) / 1e9 })
	c.reloaded = time.Now()
	c.gauge("edge_requests_active", "Requests in progress.", nil, func() float64 { return float64(c.now.proxy.Active) })
	c.gauge("edge_buffer_bytes", "Memory in buffers of connections and in exchanges, as the budget counts it.", nil,
		func() float64 { return float64(c.now.engine.BufBytes) })
	c.gauge("edge_buffer_free_bytes", "Memory kept for later connections and requests, as the budget counts it.", nil,
		func() float64 { return float64(c.now.engine.BufKept) })
	c.gauge("edge_timers", "Timers armed.", nil, func() float64 { return float64(c.now.engine.Timers) })
	c.gauge("edge_loop_slowest_tick_seconds", "The longest turn of an event loop so far.", nil,
		func() float64 { return time.Duration(c.now.engine.SlowestTick).Seconds() })
	c.gauge("edge_loops", "Event loops.", nil, func() float64 { return float64(len(s.engine.Reactors())) })
}

// initCertificates registers what is counted of certificates and session tickets.
func (c *counters) initCertificates(s *Server) {
	c.initHandshakes()
	c.swaps = make(map[bool]uint64)
	for result, ok := range map[string]bool{"success": true, "failure": false} {
		swaps := func() uint64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.swaps[ok]
		}
		c.registry.CounterFunc("edge_certificate_changes_total", "Changes of the files of certificates.", swaps,
			observe.Label{Name: "result", Value: result})
	}
	c.registry.CounterFunc("edge_tls_ticket_rotations_total", "Changes of the keys of session tickets.", func() uint64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.rotations
	})
	c.gauge("edge_tls_lends_buffers", "1: connections borrow the buffers for TLS records; 0: each keeps its own.", nil,
		func() float64 {
			if tlsconn.LendsBuffers() {
				return 1
			}
			return 0
		})
	c.gauge("edge_tls_handshakes_active", "TLS handshakes in progress.", nil,
		func() float64 { return float64(c.now.secure.Current) })
	c.gauge("edge_tls_handshakes_queued", "TLS handshakes that wait for a processor.", nil,
		func() float64 { return float64(c.now.secure.Queued) })
	c.gauge("edge_certificates", "Certificates in use.", nil, func() float64 { return float64(c.now.certificates) })
	c.gauge("edge_certificate_first_expiry_timestamp_seconds", "When the first certificate expires.", nil,
		func() float64 { return float64(c.now.firstExpiry) })
}

// initEvents registers what is counted of the event log; e is nil in a process that has its own.
func (c *counters) initEvents(e *eventLog) {
	if e == nil {
		return
	}
	c.registry.CounterFunc("edge_error_log_dropped_total", "Lines of the error log dropped since it was not read.",
		func() uint64 { return e.missing().dropped })
	c.registry.CounterFunc("edge_error_log_lost_total", "Lines of the error log that its output refused.",
		func() uint64 { return e.missing().refused })
}

// register lists rows whose values stand in what get returns. get is called with c.mu held.
func register[S any](c *counters, rows []row[S], labels []observe.Label, get func() S) {
	for _, r := range rows {
		all := labels
		if r.label != "" {
			all = append(all[:len(all):len(all)], observe.Label{Name: r.label, Value: r.value})
		}
		c.registry.CounterFunc(r.name, r.help, func() uint64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			s := get()
			return r.read(&s)
		}, all...)
	}
}

func (c *counters) gauge(name, help string, labels []observe.Label, read func() float64) {
	c.registry.Gauge(name, help, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return read()
	}, labels...)
}

// follow registers what g has and no generation before it had. Server.mu is held.
func (c *counters) follow(g *generation) {
	for _, k := range g.sinks {
		if !c.sinks[k.sink] {
			c.sinks[k.sink] = true
			k.sink.Register(&c.registry, observe.Label{Name: "output", Value: k.path})
		}
	}
	for _, l := range g.listeners {
		if !c.listeners[l.name] {
			c.listeners[l.name] = true
			c.addListener(l.name)
		}
	}
	for _, u := range g.upstreams {
		if name := u.Name(); !c.upstreams[name] {
			c.upstreams[name] = true
			c.addUpstream(name)
		}
		if name := u.Name(); u.Options().Protocol != upstream.H1 && !c.h2Upstreams[name] {
			c.h2Upstreams[name] = true
			register(c, upstreamH2Rows, []observe.Label{{Name: "upstream", Value: name}}, func() h2.Stats {
				return c.upstream(name).H2
			})
		}
	}
}

func (c *counters) addListener(name string) {
	labels := []observe.Label{{Name: "listener", Value: name}}
	register(c, listenerRows, labels, func() listenerStats {
		sum, past := c.now.listeners[name], c.past.listeners[name]
		sum.add(&past)
		return sum
	})
	register(c, h2Rows, labels, func() h2.Stats {
		sum, past := c.now.listeners[name].h2, c.past.listeners[name].h2
		sum.Add(&past)
		return sum
	})
	c.gauge("edge_connections", "Connections of clients open.", labels,
		func() float64 { return float64(c.now.listeners[name].conns) })
}

func (c *counters) addUpstream(name string) {
	labels := []observe.Label{{Name: "upstream", Value: name}}
	register(c, upstreamRows, labels, func() upstream.Stats { return c.upstream(name) })
	for state, read := range map[string]func(upstream.Stats) int{
		"idle":   func(s upstream.Stats) int { return s.Idle },
		"active": func(s upstream.Stats) int { return s.Connections - s.Idle - s.Shared },
		"shared": func(s upstream.Stats) int { return s.Shared },
	} {
		c.gauge("edge_upstream_connections", "Connections to backends open.",
			append(labels[:1:1], observe.Label{Name: "state", Value: state}),
			func() float64 { return float64(read(c.now.upstreams[name])) })
	}
	c.gauge("edge_upstream_waiting", "Requests that wait for a connection to a backend.", labels,
		func() float64 { return float64(c.now.upstreams[name].Waiting) })
}

// upstream returns what the upstreams of that name have counted. c.mu is held.
func (c *counters) upstream(name string) upstream.Stats {
	sum, past := c.now.upstreams[name], c.past.upstreams[name]
	sum.Add(&past)
	return sum
}

// totals shows a registry in one line of the event log: what is not zero.
type totals struct{ *observe.Registry }

// LogValue lists the series.
func (t totals) LogValue() slog.Value {
	var attrs []slog.Attr
	t.Each(func(s observe.Sample) {
		if s.Value == 0 || strings.HasSuffix(s.Name, "_timestamp_seconds") {
			return
		}
		name := strings.TrimPrefix(s.Name, "edge_")
		for _, l := range s.Labels {
			name += " " + l.Value
		}
		attrs = append(attrs, slog.Float64(name, s.Value))
	})
	return slog.GroupValue(attrs...)
}
