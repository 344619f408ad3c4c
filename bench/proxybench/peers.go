package proxybench

import (
	"bytes"
	"cmp"
	"context"
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
	"time"
)

const (
	versionTimeout = 5 * time.Second
)

// place is where a peer runs, by name: addresses (listen, secure and h2c, which is HTTP/2 without TLS), files,
// settings. A configuration and a command line have the names in braces.
type place map[string]string

// fill puts what p says into text. What it says may have names in braces itself.
func (p place) fill(text string) string {
	var pairs []string
	for name, value := range p {
		pairs = append(pairs, "{"+name+"}", value)
	}
	r := strings.NewReplacer(pairs...)
	return r.Replace(r.Replace(text))
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
	keeps    bool   // has a cache or answers by itself, and runs only scenarios that name it
	files    bool   // answers with files
	http3    bool   // speaks HTTP/3, and runs only scenarios that name it
	answers  bool   // is a server of HTTP/3 alone, and asks no origin
}

// Peers are all there are, in the order they take turns. The floor comes first, always.
var Peers = []Peer{
	{Name: floorName, plain: true, args: "floor --listen {listen} --origin {origin} --park runtime"},
	{Name: "floor-syscall", plain: true, optional: true,
		args: "floor --listen {listen} --origin {origin} --park syscall"},
	edgePeer(beforeName, beforeName, true, nil),
	edgePeer(edgeName, "edge", false, nil),
	edgePeer("edge+log", "edge", false, place{"output": `["{dir}/access.log"]`}),
	edgePeer("edge+filters", "edge", true, place{"routes": peerFile("filters.toml")}),
	edgePeer("edge+rules", "edge", true, place{"routes": peerFile("rules.toml")}),
	{Name: nginxName, binary: "nginx", version: "-v", config: "nginx.conf", args: "-p {dir} -c {file} -e stderr"},
	{Name: haproxyName, binary: haproxyName, version: "-v", config: "haproxy.cfg", args: "-db -q -f {file}"},
	{Name: "h2o", binary: "h2o", version: "-v", config: "h2o.yaml", args: "-c {file}"},
	cachePeer(edgePeer(beforeCacheName, beforeName, true, place{"routes": peerFile("cache.toml")})),
	cachePeer(edgePeer(cacheName, "edge", false, place{"routes": peerFile("cache.toml")})),
	cachePeer(edgePeer(ownName, "edge", false,
		place{"routes": peerFile("own.toml"), "body": strings.Repeat("x", 1<<10)})),
	cachePeer(Peer{Name: nginxCacheName, binary: "nginx", version: "-v", config: "nginx.conf",
		args: "-p {dir} -c {file} -e stderr",
		set: place{"nginx.http": peerFile("cache.conf"),
			"nginx.server": "location ~ ^/cached/(64k|256k|1m)$ { sendfile on; proxy_pass http://origin; }"}}),
	cachePeer(Peer{Name: haproxyCacheName, binary: haproxyName, version: "-v", config: "haproxy.cfg",
		args: "-db -q -f {file}", set: place{"haproxy.cache": peerFile("cache.cfg"),
			"haproxy.use": "http-request cache-use all\n\thttp-response cache-store all"}}),
	filesPeer(edgePeer(beforeFilesName, beforeName, true, place{"routes": peerFile("files.toml")})),
	filesPeer(edgePeer(filesName, "edge", false, place{"routes": peerFile("files.toml")})),
	filesPeer(Peer{Name: nginxFilesName, binary: "nginx", version: "-v", config: "nginx.conf",
		args: "-p {dir} -c {file} -e stderr",
		set: place{"nginx.http": "sendfile on; open_file_cache max=10000; open_file_cache_valid 60s;",
			"nginx.server": "location /cached/ { root {cache}; }"}}),
	http3Peer(edgePeer(beforeHTTP3Name, beforeName, true, http3Place)),
	http3Peer(edgePeer(http3Name, "edge", false, http3Place)),
	http3Peer(Peer{Name: quicGoName, args: "quic-go --listen {secure} --cert {cert} --key {key}", answers: true}),
	http3Peer(Peer{Name: gtlsName, binary: "gtlsserver", answers: true, files: true,
		args: "--quiet --htdocs={cache} {ip} {secure.port} {key} {cert}"}),
	{Name: "fasthttp", plain: true, args: "peer fasthttp --listen {listen} --origin {origin}"},
	{Name: "nethttp", plain: true, args: "peer nethttp --listen {listen} --origin {origin}"},
}

func edgePeer(name, binary string, optional bool, set place) Peer {
	return Peer{Name: name, optional: optional, binary: binary, version: "version", config: "edge.toml",
		args: "run -c {file}", set: set}
}

func cachePeer(p Peer) Peer {
	p.keeps = true
	return p
}

// http3Place has the listener with TLS speak HTTP/3, too.
var http3Place = place{"versions": `["h1", "h2", "h3"]`, "h3": "h3.advertise = false"}

func http3Peer(p Peer) Peer {
	p.http3 = true
	return cachePeer(p)
}

func filesPeer(p Peer) Peer {
	p.files = true
	return cachePeer(p)
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
	return !p.keeps && (!p.plain || s.Proto == H1)
}

// withBefore adds the peers "before", "before+cache" and so on to names; no name means all that are not optional.
func withBefore(names []string) []string {
	out := append([]string{beforeName, beforeCacheName, beforeFilesName, beforeHTTP3Name}, names...)
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
	if path, err := exec.LookPath(p.binary); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", p.binary)) // not in every user's PATH
}

// command writes the peer's configuration and returns its command line. at is completed.
func (p Peer) command(at place, binary string) ([]string, error) {
	maps.Copy(at, p.set)
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
		"nginx.user": "", "h2o.user": "", "nginx.http": "", "nginx.server": "", "haproxy.cache": "",
		"haproxy.use": ""}
	if os.Geteuid() == 0 { // they would change to a user that cannot enter our directory
		at["nginx.user"], at["h2o.user"] = "user root;", "user: root"
	}
	for _, name := range []string{"listen", "h2c", "secure"} {
		at["ip"], at[name+".port"], _ = net.SplitHostPort(at[name])
	}
	return at
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
	return versionOf(ctx, binary, p.version)
}

// versionOf returns the first line that a program prints, without its copyright.
func versionOf(ctx context.Context, binary, arg string) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, _ := exec.CommandContext(ctx, binary, arg).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	line, _, _ = strings.Cut(line, " Copyright")
	return strings.TrimSpace(line)
}
