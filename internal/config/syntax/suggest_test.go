package syntax

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"log_level", "listen", "ssl_certificate", "cert", "key", "pid_file", "threads"}
	for text, want := range map[string]string{
		"certifcate": "ssl_certificate", "log_levle": "log_level", "LOG_LEVEL": "log_level", "lissten": "listen",
		"thread": "threads", "pidfile": "pid_file", "crt": "cert", "kez": "key", "nothing": "", "x": "", "": "",
	} {
		if got := Nearest(text, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", text, got, want)
		}
	}
}
