package server

import "github.com/edge-proxy/edge/h2"

// h2Rows are what the codec of HTTP/2 counts for a listener.
var h2Rows = []row[h2.Stats]{
	{"edge_listener_h2_streams_total", "Streams opened.", "", "",
		func(s *h2.Stats) uint64 { return s.Streams }},
	{"edge_listener_h2_resets_total", "Streams reset.", "by", "client",
		func(s *h2.Stats) uint64 { return s.ResetsIn }},
	{"edge_listener_h2_resets_total", "", "by", "proxy", func(s *h2.Stats) uint64 { return s.ResetsOut }},
	{"edge_listener_h2_refused_total", "Streams above the number that a connection may have open.", "", "",
		func(s *h2.Stats) uint64 { return s.Refused }},
	{"edge_listener_h2_faults_total", "Connections ended for a fault of the client, abuse among them.", "", "",
		func(s *h2.Stats) uint64 { return s.Faults }},
	{"edge_listener_h2_heads_refused_total", "Heads that no route has seen.", "why", "malformed",
		func(s *h2.Stats) uint64 { return s.Malformed }},
	{"edge_listener_h2_heads_refused_total", "", "why", "too_large",
		func(s *h2.Stats) uint64 { return s.HeadTooLarge }},
	{"edge_listener_h2_heads_unsent_total", "Heads and trailers of answers that are larger than the client takes.",
		"", "", func(s *h2.Stats) uint64 { return s.PeerListSize }},
	{"edge_listener_h2_pings_total", "PING frames answered.", "", "",
		func(s *h2.Stats) uint64 { return s.Pings }},
	{"edge_listener_h2_timeouts_total", "Connections ended because something did not come in time.", "for",
		"settings", func(s *h2.Stats) uint64 { return s.SettingsTimeout }},
	{"edge_listener_h2_timeouts_total", "", "for", "ping", func(s *h2.Stats) uint64 { return s.PingTimeout }},
	{"edge_listener_h2_timeouts_total", "", "for", "head", func(s *h2.Stats) uint64 { return s.HeadTimeout }},
	{"edge_listener_h2_stalled_total", "Streams reset because nobody took what they brought.", "who", "client",
		func(s *h2.Stats) uint64 { return s.StalledPeer }},
	{"edge_listener_h2_stalled_total", "", "who", "backend", func(s *h2.Stats) uint64 { return s.StalledReader }},
	{"edge_listener_h2_abuse_total", "Connections ended for abuse.", "kind", "rapid_reset",
		func(s *h2.Stats) uint64 { return s.RapidReset }},
	{"edge_listener_h2_abuse_total", "", "kind", "made_you_reset",
		func(s *h2.Stats) uint64 { return s.MadeYouReset }},
	{"edge_listener_h2_abuse_total", "", "kind", "continuation",
		func(s *h2.Stats) uint64 { return s.ContinuationFlood }},
	{"edge_listener_h2_abuse_total", "", "kind", "header_bomb",
		func(s *h2.Stats) uint64 { return s.HeaderBomb }},
	{"edge_listener_h2_abuse_total", "", "kind", "settings",
		func(s *h2.Stats) uint64 { return s.SettingsFlood }},
	{"edge_listener_h2_abuse_total", "", "kind", "ping",
		func(s *h2.Stats) uint64 { return s.PingFlood }},
	{"edge_listener_h2_abuse_total", "", "kind", "priority",
		func(s *h2.Stats) uint64 { return s.PriorityFlood }},
	{"edge_listener_h2_abuse_total", "", "kind", "empty_frames",
		func(s *h2.Stats) uint64 { return s.EmptyFrameFlood }},
	{"edge_listener_h2_abuse_total", "", "kind", "window_update",
		func(s *h2.Stats) uint64 { return s.WindowUpdateFlood }},
	{"edge_listener_h2_abuse_total", "", "kind", "tiny_window",
		func(s *h2.Stats) uint64 { return s.TinyWindow }},
	{"edge_listener_h2_abuse_total", "", "kind", "closed_streams",
		func(s *h2.Stats) uint64 { return s.StrayFlood }},
}

// upstreamH2Rows are what the codec of HTTP/2 counts for an upstream. Kinds of abuse are not told apart: backends are
// few and known, and upstreams may be many.
var upstreamH2Rows = []row[h2.Stats]{
	{"edge_upstream_h2_streams_total", "Streams opened.", "", "",
		func(s *h2.Stats) uint64 { return s.Streams }},
	{"edge_upstream_h2_resets_total", "Streams reset.", "by", "backend",
		func(s *h2.Stats) uint64 { return s.ResetsIn }},
	{"edge_upstream_h2_resets_total", "", "by", "proxy", func(s *h2.Stats) uint64 { return s.ResetsOut }},
	{"edge_upstream_h2_heads_refused_total", "Heads of answers that were not passed on.", "why", "malformed",
		func(s *h2.Stats) uint64 { return s.Malformed }},
	{"edge_upstream_h2_heads_refused_total", "", "why", "too_large",
		func(s *h2.Stats) uint64 { return s.HeadTooLarge }},
	{"edge_upstream_h2_heads_unsent_total", "Heads and trailers of requests that are larger than the backend takes.",
		"", "", func(s *h2.Stats) uint64 { return s.PeerListSize }},
	{"edge_upstream_h2_pings_total", "PING frames answered.", "", "",
		func(s *h2.Stats) uint64 { return s.Pings }},
	{"edge_upstream_h2_faults_total", "Connections ended for a fault of the backend, abuse among them.", "", "",
		func(s *h2.Stats) uint64 { return s.Faults }},
	{"edge_upstream_h2_abuse_total", "Connections ended for abuse.", "", "", abuse},
	{"edge_upstream_h2_timeouts_total", "Connections ended because something did not come in time.", "for",
		"settings", func(s *h2.Stats) uint64 { return s.SettingsTimeout }},
	{"edge_upstream_h2_timeouts_total", "", "for", "ping", func(s *h2.Stats) uint64 { return s.PingTimeout }},
	{"edge_upstream_h2_timeouts_total", "", "for", "head", func(s *h2.Stats) uint64 { return s.HeadTimeout }},
	{"edge_upstream_h2_stalled_total", "Streams reset because nobody took what they brought.", "who", "backend",
		func(s *h2.Stats) uint64 { return s.StalledPeer }},
	{"edge_upstream_h2_stalled_total", "", "who", "client", func(s *h2.Stats) uint64 { return s.StalledReader }},
}

// abuse adds up the kinds of abuse.
func abuse(s *h2.Stats) uint64 {
	return s.RapidReset + s.MadeYouReset + s.ContinuationFlood + s.HeaderBomb + s.SettingsFlood + s.PingFlood +
		s.PriorityFlood + s.EmptyFrameFlood + s.WindowUpdateFlood + s.TinyWindow + s.StrayFlood
}
