package config

import "github.com/edge-proxy/edge/config/schema"

// RestartKeys returns the keys whose values differ between two configurations and take effect when the process starts
// again, by their names in a file. Those of listeners are not among them: see Listener.RestartKeys.
func RestartKeys(old, next *Config) []string {
	global, tls := edge().Section("global"), edge().Section("tls")
	keys := global.RestartKeys(&globalEntry{Global: old.Global}, &globalEntry{Global: next.Global})
	keys = append(keys, tls.RestartKeys(&tlsEntry{TLS: old.TLS}, &tlsEntry{TLS: next.TLS})...)
	for _, f := range old.Features {
		for _, g := range next.Features {
			if s := schema.SectionOf(f); s == schema.SectionOf(g) && s.Shape == schema.One {
				keys = append(keys, s.RestartKeys(f, g)...)
			}
		}
	}
	return keys
}

// RestartKeys is the function RestartKeys for two listeners that have a socket in common.
func (l *Listener) RestartKeys(next *Listener) []string {
	return edge().Section("listeners").RestartKeys(&listenerEntry{Listener: *l}, &listenerEntry{Listener: *next})
}
