package config

import "testing"

// A process in the background whose logs go to servers logs something.
func TestParse_backgroundWithSyslog(t *testing.T) {
	for keys, warned := range map[string]int{
		"": 1,
		"error_log = 'syslog+udp://h'\nlog.output = ['syslog+udp://h']\n": 0,
		"log.output = ['syslog+unix:///dev/log']\n":                       0,
		"http.access_log = 'syslog+tcp://h'\n":                            0,
	} {
		_, rep := Options{TextOnly: true}.Parse("f", []byte("daemon = true\n"+keys+
			"http.listen = ':80'\n[[routes]]\npattern = '/*'\ndest = 'h:80'\n"))
		if !rep.OK() || len(rep.Warnings) != warned {
			t.Errorf("%q: %v, %v", keys, rep.Errors, rep.Warnings)
		}
	}
}
