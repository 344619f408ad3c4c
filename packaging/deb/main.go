package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

func main() {
	archive := flag.String("archive", "", "an archive of packaging/dist")
	out := flag.String("out", ".", "the folder that the package goes to")
	scripts := flag.String("scripts", "../scripts", "the folder of the scripts that packages share")
	flag.Parse()
	name, err := build(*archive, *scripts, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
	fmt.Println(name)
}

// archiveName has the program, the version and the architecture of an archive.
var archiveName = regexp.MustCompile(`^(edge(?:-[a-z]+)?)-([0-9].*)-linux-([0-9a-z]+)\.tar\.gz$`)

// entry is one file of an archive.
type entry struct {
	text []byte
	when time.Time
}

// build makes the package of an archive in the folder out and returns its path.
func build(archive, scripts, out string) (string, error) {
	m := archiveName.FindStringSubmatch(filepath.Base(archive))
	if m == nil {
		return "", fmt.Errorf("-archive %q is not named PROGRAM-VERSION-linux-ARCH.tar.gz", archive)
	}
	program := m[1]
	content, err := unpack(archive)
	if err == nil && len(content[program].text) == 0 {
		err = errors.New("no program is in it")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	work, err := os.MkdirTemp("", "edge-deb")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work) //nolint:errcheck // nothing is lost with it
	p := &pack{work: work, content: content, when: content[program].when}
	info := p.info(program, versionOf(m[2]), m[3])
	p.add("/usr/bin/"+program, program)
	p.add("/usr/share/doc/"+program+"/copyright", "LICENSE")
	if program == "edge" {
		p.service(info, scripts)
	}
	info.Contents = p.contents
	if p.err != nil {
		return "", p.err
	}
	return p.write(info, out)
}

// service adds what makes edge a service.
func (p *pack) service(info *nfpm.Info, scripts string) {
	for to, from := range places {
		p.add(to, from)
	}
	for from := range p.content {
		if page, ok := strings.CutPrefix(from, "docs/"); ok && page != "CHANGELOG.md" {
			p.add("/usr/share/doc/edge/"+page, from)
		}
	}
	for _, folder := range []string{"/etc/edge", "/etc/edge/tls"} {
		p.contents = append(p.contents, &files.Content{Destination: folder, Type: files.TypeDir,
			FileInfo: &files.ContentFileInfo{Mode: 0o750 | fs.ModeDir, MTime: p.when}})
	}
	info.Scripts = nfpm.Scripts{
		PostInstall: p.script("postinst", scripts, afterInstall),
		PreRemove:   p.script("prerm", scripts, beforeRemoval),
		PostRemove:  p.script("postrm", scripts, afterRemoval),
	}
	info.Depends, info.Recommends = []string{"passwd"}, []string{"ca-certificates"}
	info.Suggests = []string{"edge-bench", "edge-import"}
}

// unpack returns the files of an archive, without the folder that they are in.
func unpack(archive string) (map[string]entry, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	content := map[string]entry{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		_, name, _ := strings.Cut(h.Name, "/")
		content[name] = entry{text, h.ModTime}
	}
	return content, nil
}

// versionOf returns a version as Debian orders it: without a hyphen, after which a revision of the package would
// follow. 1.2.3~rc.1 is older than 1.2.3.
func versionOf(version string) string { return strings.ReplaceAll(version, "-", "~") }

// places are the files of edge's package but for the program, its license and the pages of docs, by their names in the
// archive.
var places = map[string]string{
	"/etc/edge/edge.toml":                            "edge.toml",
	"/usr/lib/systemd/system/edge.service":           "systemd/edge.service",
	"/usr/lib/systemd/system/edge.socket":            "systemd/edge.socket",
	"/usr/share/man/man1/edge.1.gz":                  "edge.1",
	"/usr/share/bash-completion/completions/edge":    "completions/edge",
	"/usr/share/zsh/vendor-completions/_edge":        "completions/_edge",
	"/usr/share/fish/vendor_completions.d/edge.fish": "completions/edge.fish",
	"/usr/share/doc/edge/changelog.gz":               "docs/CHANGELOG.md",
	"/usr/share/doc/edge/notify-reload.conf":         "systemd/notify-reload.conf",
}

// pack is a package while it is put together. err is the first error.
type pack struct {
	work     string // the folder of files that nfpm reads
	content  map[string]entry
	when     time.Time
	contents files.Contents
	err      error
}

// descriptions say what each package is.
var descriptions = map[string]string{
	"edge": "HTTP reverse proxy and load balancer\n" +
		"edge relays HTTP/1, HTTP/2, gRPC and WebSockets to groups of backends, with TLS,\n" +
		"health checks, retries, discovery, and reloads that break no connection.",
	"edge-bench": "load generator for HTTP, and benchmarks of edge beside other proxies\n" +
		"edge bench runs it. A server needs it only to be measured.",
	"edge-import": "turns configurations of other proxies into one of edge\n" +
		"edge import runs it: it reads those of nginx, HAProxy, Caddy, Traefik and Pingora.",
}

func (p *pack) info(program, version, arch string) *nfpm.Info {
	return &nfpm.Info{
		Name: program, Version: version, VersionSchema: "none", Arch: arch, Platform: "linux", Section: "httpd",
		Priority: "optional", Maintainer: "edge <edge-proxy@users.noreply.github.com>", MTime: p.when,
		DisableGlobbing: true, Homepage: "https://github.com/edge-proxy/edge", License: "Apache-2.0",
		Description: descriptions[program],
	}
}

// add puts a file of the archive at its place. What ends with .gz is compressed.
func (p *pack) add(to, from string) {
	text := p.content[from].text
	if len(text) == 0 && p.err == nil {
		p.err = fmt.Errorf("the archive has no %s", from)
	}
	if path.Ext(to) == ".gz" {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one
		_, err := z.Write(text)
		if err = errors.Join(err, z.Close()); err != nil && p.err == nil {
			p.err = err
		}
		text = b.Bytes()
	}
	kind, mode := files.TypeFile, fs.FileMode(0o644)
	switch {
	case path.Dir(to) == "/usr/bin":
		mode = 0o755
	case to == "/etc/edge/edge.toml":
		kind, mode = files.TypeConfigNoReplace, 0o640
	}
	p.contents = append(p.contents, &files.Content{Source: p.file(path.Base(to), text), Destination: to, Type: kind,
		FileInfo: &files.ContentFileInfo{Mode: mode, MTime: p.when}})
}

// file makes a file that nfpm reads, and returns its path.
func (p *pack) file(name string, text []byte) string {
	f, err := os.CreateTemp(p.work, "*-"+name)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		p.err = errors.Join(p.err, err)
		return ""
	}
	return f.Name()
}

// What the scripts of a package do (Debian's policy, chapter 6). {user}, {service} and {stop} are scripts that packages
// share. dpkg unpacks the files before there is a user edge, so afterInstall gives them their group. dpkg also speaks
// of an update where the package had been removed and its configuration kept: the file .removed tells that.
const (
	afterInstall = `if [ "$1" = configure ]; then
{user}
	for folder in /var/lib/edge /var/log/edge; do
		install -d -o edge -g edge -m 750 "$folder"
	done
	chgrp edge /etc/edge /etc/edge/tls
	if [ -f /etc/edge/edge.toml ]; then
		chgrp edge /etc/edge/edge.toml
		chmod 640 /etc/edge/edge.toml
	fi
	if [ -z "$2" ] || [ -e /var/lib/edge/.removed ]; then set -- new; else set -- update; fi
	rm -f /var/lib/edge/.removed
{service}
fi
`
	beforeRemoval = `if [ "$1" = remove ]; then
	touch /var/lib/edge/.removed 2>/dev/null || true
{stop}
fi
`
	afterRemoval = `if [ "$1" = purge ]; then
	rm -rf /var/lib/edge /var/cache/edge /var/log/edge /run/edge
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
`
)

func (p *pack) script(name, shared, text string) string {
	for _, part := range []string{"user", "service", "stop"} {
		if !strings.Contains(text, "{"+part+"}") {
			continue
		}
		body, err := os.ReadFile(filepath.Join(shared, part+".sh"))
		if err != nil && p.err == nil {
			p.err = err
		}
		text = strings.ReplaceAll(text, "{"+part+"}", strings.TrimRight(string(body), "\n"))
	}
	return p.file(name, []byte("#!/bin/sh\nset -e\n"+text))
}

// write makes the package whole or not at all.
func (p *pack) write(info *nfpm.Info, out string) (string, error) {
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := deb.Default.Package(info, &b); err != nil {
		return "", err
	}
	// Some servers rename a file whose name has a tilde.
	to := filepath.Join(out, strings.ReplaceAll(deb.Default.ConventionalFileName(info), "~", "-"))
	if err := os.WriteFile(to+".part", b.Bytes(), 0o644); err != nil { //nolint:gosec // all users read it
		_ = os.Remove(to + ".part")
		return "", err
	}
	return to, os.Rename(to+".part", to)
}
