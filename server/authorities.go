package server

import (
	"log/slog"

	"github.com/edge-proxy/edge/config"
)

// trustFiles returns the paths of what c names beside the certificates of listeners: authorities, and certificates
// that backends are shown.
func trustFiles(c *config.Config) (paths []string) {
	add := func(path string) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.TLS != config.TLSOff {
			add(l.TLSOptions.ClientCA)
		}
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i].TLS
		if !u.On {
			continue
		}
		add(u.Cert)
		add(u.Key)
		if u.CA == "" {
			add(c.Global.CAFile)
		}
		add(u.CA)
	}
	return paths
}

// trustChanged builds the present configuration anew from files of authorities that have changed: what does not depend
// on them goes on. It reports whether they could be read; until they can be, what was before stays.
func (s *Server) trustChanged(paths []string, again bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != serving {
		return s.state > serving // before that it is asked again
	}
	err := s.replace(s.present.config)
	switch {
	case err == nil:
		s.counters.CountCertificate(true)
		slog.Info("authorities or certificates for backends changed", "files", paths)
	case !again:
		s.counters.CountCertificate(false)
		slog.Error("files of authorities or of certificates for backends are wrong, what was before stays",
			"files", paths, "error", err)
	}
	return err == nil
}
