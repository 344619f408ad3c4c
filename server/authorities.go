package server

import (
	"log/slog"

	"github.com/edge-proxy/edge/config/language"
)

// tellTable logs what has become of a changed file of a list or a map.
func tellTable(c language.Change) {
	if c.Err != nil {
		slog.Error("the file of a "+c.Kind+" is wrong, what it had stays", "name", c.Name, "file", c.File,
			"error", c.Err, "more", c.More)
		return
	}
	slog.Info(c.Kind+" changed", "name", c.Name, "file", c.File, "entries", c.Entries)
}

// trustChanged applies the present configuration again after files of authorities have changed. What does not depend on
// them goes on. It reports whether they could be read; until then the generation before stays. It is for certs.Follow.
func (s *Server) trustChanged(paths []string, again bool) bool {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != serving || s.handover.suspended {
		return s.state > serving // false: it is called again
	}
	err := s.replace(s.present.config, true)
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
