package proxybench

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"embed"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/bench/load"
)

const (
	versionTimeout = 5 * time.Second
	hostCount      = 10_000
)

// place is where a peer runs, by name: addresses (listen, secure and h2c, which is HTTP/2 without TLS), files,
// settings. A configuration and a command line have the names in braces.
type place map[string]string

// fill puts the settings of p into text. A setting may have the names of others in braces, but not its own.
func (p place) fill(text string) string {
	var pairs []string
	for name, value := range p {
		pairs = append(pairs, "{"+name+"}", value)
	}
	r := strings.NewReplacer(pairs...)
	for {
		filled := r.Replace(text)
		if filled == text {
			return text
		}
		text = filled
	}
}

//go:embed peers
var peerFiles embed.FS

// peerFile is the text of a file of peers, which is there.
func peerFile(name string) string {
	b, err := peerFiles.ReadFile("peers/" + name)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Peer is a proxy that is measured. Immutable.
type Peer struct {
	Name     string
	optional bool   // runs only when named
	plain    bool   // speaks neither HTTP/2 nor TLS
	binary   string // looked up in PATH; empty: edge-bench itself, which runs on one core
	version  string // the argument that prints it
	config   string // a file of peers; empty: none
	args     string // the command line without the binary
	set      place  // settings beside the usual ones
	named    bool   // does more than the others, and runs only scenarios that name it
	files    bool   // answers with files
	answers  bool   // is a server of HTTP/3 alone, and asks no origin
	hosts    string // a file of peers, one piece of its configuration for each of hostCount hosts
}

// writeFiles writes the files of the scenarios of files below dir.
func writeFiles(dir string) error {
	err := os.Mkdir(filepath.Join(dir, "cached"), 0o700)
	for name, size := range map[string]int{"small": 128, "cached/1k": 1 << 10, "cached/16k": 16 << 10,
		"cached/1m": 1 << 20} {
		err = cmp.Or(err, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), size), 0o600))
	}
	return err
}

// FindPeers returns the named peers and the floor, in the order they take turns; no name means all that are not
// optional. The peers "before", "before+cache" and so on are Options.Before.
func FindPeers(names []string) ([]Peer, error) {
	if len(names) > 0 {
		return pick(Peers, append([]string{floorName}, names...), "peer", func(p Peer) string { return p.Name })
	}
	return slices.DeleteFunc(slices.Clone(Peers), func(p Peer) bool { return p.optional }), nil
}

// runs tells whether p runs s: the floor, and the peers that speak its protocol and have the cache that it needs.
func (p Peer) runs(s Scenario) bool {
	if p.Name == floorName || s.Peers != nil {
		return p.Name == floorName || slices.Contains(s.Peers, p.Name)
	}
	return !p.named && (!p.plain || s.Proto == H1)
}

// withBefore adds the peers "before", "before+cache" and so on to names; no name means all that are not optional.
func withBefore(names []string) []string {
	out := []string{beforeName}
	for _, with := range features {
		out = append(out, beforeName+with)
	}
	out = append(out, names...)
	for _, p := range Peers {
		if len(names) == 0 && !p.optional {
			out = append(out, p.Name)
		}
	}
	return out
}

// locate finds the peer's binary; edge is looked for beside edge-bench first.
func (p Peer) locate(o *Options) (string, error) {
	switch p.binary {
	case "":
		return o.Self, nil
	case beforeName:
		return exec.LookPath(o.Before)
	case "edge":
		if o.Edge == "" {
			return exec.LookPath(filepath.Join(filepath.Dir(o.Self), "edge"))
		}
		return exec.LookPath(o.Edge)
	}
	if path := o.Programs[p.binary]; path != "" {
		return exec.LookPath(path)
	}
	if path, err := exec.LookPath(p.binary); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", p.binary)) // not in every user's PATH
}

// command writes the peer's configuration and returns its command line. at is completed.
func (p Peer) command(at place, binary string) ([]string, error) {
	maps.Copy(at, p.set)
	if p.hosts != "" {
		at["hosts"], at["hosts.file"] = perHost(peerFile(p.hosts)), filepath.Join(at["dir"], p.hosts)
		if err := os.WriteFile(at["hosts.file"], []byte(at.fill(at["hosts"])), 0o600); err != nil {
			return nil, fmt.Errorf("hosts of %s: %w", p.Name, err)
		}
	}
	if p.config != "" {
		at["file"] = filepath.Join(at["dir"], p.config)
		if err := os.WriteFile(at["file"], []byte(at.fill(peerFile(p.config))), 0o600); err != nil {
			return nil, fmt.Errorf("configuration of %s: %w", p.Name, err)
		}
	}
	argv := []string{binary}
	for _, arg := range strings.Fields(p.args) {
		argv = append(argv, at.fill(arg))
	}
	return argv, nil
}

// newPlace has the usual settings, for a peer with three addresses before origin.
func newPlace(addrs []string, origin, dir string, keys keyPair) place {
	at := place{"listen": addrs[0], "h2c": addrs[1], "secure": addrs[2], "origin": origin, "dir": dir,
		"versions": `["h1", "h2"]`, "h3": "",
		"cert": keys.cert, "key": keys.key, "both": keys.both,
		"loops": "1", "global": "", "listener": "", "routes": peerFile("route.toml"), "output": "[]",
		"nginx.user": "", "h2o.user": "", "nginx.http": "", "nginx.listen": "", "nginx.server": "",
		"haproxy.cache": "", "haproxy.bind": "", "haproxy.use": "", "h2o.path": peerFile("path.yaml"),
		"caddy.protocols": "h1 h2 h2c", "caddy.path": peerFile("path.caddy"), "caddy.sites": "",
		"envoy.manager": peerFile("manager.yaml"), "envoy.filter": "", "envoy.hosts": "", "envoy.listener": ""}
	if os.Geteuid() == 0 { // they would change to a user that cannot enter our directory
		at["nginx.user"], at["h2o.user"] = "user root;", "user: root"
	}
	for _, name := range []string{"listen", "h2c", "secure", "origin"} {
		at[name+".ip"], at[name+".port"], _ = net.SplitHostPort(at[name])
	}
	at["ip"] = at["listen.ip"]
	return at
}

// perHost repeats text for each host.
func perHost(text string) string {
	var b strings.Builder
	for n := range hostCount {
		b.WriteString(strings.ReplaceAll(text, "{host}", load.HostName(n)))
	}
	return b.String()
}

// describe returns the version of a peer: for a Go peer the version of its module, else the first line that it prints.
func (p Peer) describe(ctx context.Context, binary string) string {
	switch p.Name {
	case "nethttp":
		return "net/http/httputil.ReverseProxy of " + runtime.Version()
	case "fasthttp":
		const path = "github.com/valyala/fasthttp"
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, d := range info.Deps {
				if d.Path == path {
					return path + " " + d.Version
				}
			}
		}
		return path
	}
	if p.version == "" {
		return ""
	}
	if v := versionOf(ctx, binary, p.version); v != "unknown" {
		return v
	}
	// A Caddy that go install has built does not know its version. The module is in its build information.
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if strings.HasSuffix(info.Path, "/"+p.binary) && strings.HasPrefix(info.Path, m.Path+"/") {
			return m.Path + " " + m.Version
		}
	}
	return "unknown"
}

// versionOf returns the first line that a program prints, without its copyright.
func versionOf(ctx context.Context, binary, arg string) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, arg)
	// A script may wait for a program of its own, which holds the output: the group is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopTimeout
	out, _ := cmd.CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	line, _, _ = strings.Cut(line, " Copyright")
	return strings.TrimSpace(line)
}
