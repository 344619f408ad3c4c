package haproxy

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
)

// importer turns sections into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	sections  []*section
	backends  map[string]*section
	made      map[string]bool   // upstreams that are written
	missed    map[string]bool   // backends of rules that are not carried; "": one of them names any
	alone     bool              // there is one frontend
	names     map[string]string // of upstreams, by those of backends
	used      map[string]bool   // names of upstreams
	listeners map[string]bool   // names of listeners
	told      map[string]bool   // findings about options that many servers have
	read      *plan.Reader
	dir       string // where relative paths of the file begin
}

// Import reads the file at path. The error is that of reading it; all else is among the findings of the plan.
func Import(path string, r *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "HAProxy", File: filepath.Base(path)}
	list, err := read(path, r, p)
	if err != nil {
		return nil, err
	}
	im := &importer{Plan: p, sections: list, backends: map[string]*section{}, made: map[string]bool{},
		missed: map[string]bool{}, names: map[string]string{}, used: map[string]bool{},
		listeners: map[string]bool{}, told: map[string]bool{}, read: r,
		dir: filepath.Dir(path)}
	fronts := 0
	for _, s := range list {
		switch s.kind {
		case "backend", "listen":
			im.backends[s.name] = s
		}
		if s.kind == "frontend" || s.kind == "listen" {
			fronts++
		}
	}
	im.alone = fronts == 1
	for _, s := range list {
		switch s.kind {
		case "global":
			im.global(s)
		case "frontend", "listen":
			im.frontend(s)
		}
	}
	im.leftOver()
	return p, nil
}

// global translates the directives about the process.
func (im *importer) global(s *section) {
	b := im.Block("[global]")
	set := func(word, key string, value func(string) string) {
		if l := s.find(word); l != nil && len(l.words) > 1 {
			b.Set(key, value(l.word(1)), l.at)
		}
	}
	set("user", "user", plan.String)
	set("group", "group", plan.String)
	set("pidfile", "pid_file", plan.String)
	set("nbthread", "worker_threads", func(s string) string { return s })
	set("hard-stop-after", "grace_period", func(s string) string {
		if d, ok := parseTime(s); ok {
			return plan.Duration(d)
		}
		return plan.String(s)
	})
}

var timeText = plan.Expr(`^([0-9]{1,9})(us|ms|s|m|h|d)?$`)

// parseTime reads a time; a bare number is milliseconds.
func parseTime(s string) (d time.Duration, ok bool) {
	m := timeText().FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	unit := map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond,
		"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	if int64(n) > int64(50*365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// needless returns lines that need nothing, with what a reader is told.
func needless() map[string]string {
	return map[string]string{
		"log chroot daemon maxconn stats ca-base crt-base ssl-default-bind-ciphers ssl-default-bind-ciphersuites " +
			"ssl-default-bind-options ssl-default-server-ciphers ssl-default-server-ciphersuites " +
			"ssl-default-server-options tune.ssl.default-dh-param tune.bufsize tune.maxrewrite ulimit-n node " +
			"description spread-checks nbproc cpu-map master-worker lua-load ssl-dh-param-file set-dumpable " +
			"tune.http.maxhdr noepoll nosplice tune.ssl.cachesize unix-bind": "nothing to write: edge looks at the " +
			"machine itself; its log is that of [log]",
		"mode": "nothing to write: edge serves HTTP",
		"option httplog dontlognull http-keep-alive http-server-close redispatch abortonclose forwardfor " +
			"http-keep-alive tcplog splice-auto splice-request splice-response contstats tcp-check " +
			"http-buffer-request socket-stats log-health-checks prefer-last-server tcp-smart-accept " +
			"tcp-smart-connect clitcpka srvtcpka allbackups log-separate-errors logasap " +
			"nolinger": "nothing to write: the default of edge, or without a counterpart that answers show",
		"http-reuse": "nothing to write: connections to backends are kept",
	}
}

// lost returns lines that edge does not have, with what a reader is told.
func lost() map[string]string {
	return map[string]string{
		"stick-table stick cookie":            "see sticky and load_balancing of [upstreams.NAME]",
		"compression":                         "not available in this version: answers are not compressed",
		"tcp-request tcp-response":            "not available in this version: routes do not look at connections",
		"errorfile errorfiles http-error":     "see error_pages; the files of HAProxy have heads in them",
		"monitor-uri monitor-net":             "see [[routes]] with dest = \"status:200\"",
		"filter":                              "edge has filters of its own",
		"capture unique-id-format":            "see [log] and request_id of listeners",
		"log-format log-tag error-log-format": "formats of [log] are json, common and combined",
		"timeout":                             "edge has no such time",
		"http-check":                          "edge knows expected_status, path and method of checks",
		"email-alert":                         "edge sends no mail",
	}
}

// whyOf finds the words that a line begins with in a table.
func whyOf(table map[string]string, l *line) string {
	for words, why := range table {
		list := strings.Fields(words)
		if list[0] == "option" && l.words[0] == "option" || list[0] != "option" {
			word := l.words[0]
			if list[0] == "option" {
				word = l.word(1)
			}
			for _, w := range list {
				if w == word {
					return why
				}
			}
		}
	}
	return ""
}

// refuses reports whether a line keeps requests from the servers.
func (l *line) refuses() bool {
	switch l.words[0] {
	case "block":
		return true
	case "http-request":
		if l.word(1) == "return" {
			return statusOf(l.words) >= "400"
		}
		return slices.Contains([]string{"deny", "reject", "tarpit", "auth", "silent-drop"}, l.word(1))
	case "tcp-request":
		return slices.Contains([]string{"reject", "silent-drop"}, l.word(2))
	}
	return false
}

// leftOver adds findings about what nothing has used.
func (im *importer) leftOver() {
	for _, s := range im.sections {
		inside := map[string]bool{"global": true, "defaults": true, "frontend": true, "backend": true, "listen": true}
		if !inside[s.kind] && !s.head.used {
			im.Lose(s.head.at, s.head.text(), "edge has no such section")
		} else if s.kind == "backend" && !im.made[s.name] && !s.head.used {
			im.Note(s.head.at, s.head.text(), "no rule that is carried leads there")
		}
		for _, l := range s.lines {
			need, no := whyOf(needless(), l), whyOf(lost(), l)
			switch {
			case l.used:
			case !inside[s.kind]:
				im.Lose(l.at, l.text(), "it is inside "+s.kind)
			case s.kind == "backend" && !im.made[s.name] && l.refuses() && (im.missed[s.name] || im.missed[""]):
				im.Lose(l.at, l.text(), "the refusal is not carried: no rule that leads to backend "+s.name+" is")
			case s.kind == "backend" && !im.made[s.name]:
				im.Note(l.at, l.text(), "it is inside backend "+s.name+", to which nothing leads")
			case need != "":
				im.Note(l.at, l.text(), need)
			case l.words[0] == "acl":
				im.Note(l.at, l.text(), "no rule that is carried asks for it")
			case s.kind == "defaults" && l.words[0] == "timeout", l.words[0] == "balance", l.words[0] == "retries":
				im.Note(l.at, l.text(), "no section reads it")
			case no != "":
				im.Lose(l.at, l.text(), no)
			default:
				im.Lose(l.at, l.text(), "edge does not know it")
			}
		}
	}
}
