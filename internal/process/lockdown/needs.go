package lockdown

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/config/caching"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// Access is what is done with a path.
type Access uint8

// The kinds of access. Each one includes those before it, but Execute includes Read alone.
const (
	Read    Access = iota // a file is read, or replaced by another that is read
	Write                 // a file is made, renamed, written and removed
	Execute               // a program is started
)

// String returns "read", "write" or "execute".
func (a Access) String() string { return [...]string{"read", "write", "execute"}[a] }

// Need is a file or a port that a configuration names.
type Need struct {
	Key    string     // that names it, for messages
	Pos    config.Pos // where; zero: unknown
	Path   string     // absolute; "": it is a port
	Access Access
	Port   int
	Later  bool // its key takes effect by a restart or an upgrade alone
	Folder bool // Path is a folder
}

// Needs is what a process needs to serve a configuration, to read it again and to start the next process.
type Needs struct {
	list []Need
	dir  func(path string) string // where a relative path leads
	main string                   // the file of the configuration
}

// Options say what a process runs. Config is needed.
type Options struct {
	Config   *config.Config
	Files    *config.Files // that Config was read from; nil: none
	Program  string        // its file, absolute; "": it is never started again
	StateDir string        // server.Options.StateDir; "": there is none
	Versions string        // the folder of package versions; "": there is none
	InPlace  bool          // this process is in its working directory already, which a reload does not change
}

// Of returns what a process needs.
func Of(o Options) *Needs {
	n := &Needs{dir: o.Config.Global.FromWorkingDirectory}
	if o.InPlace {
		n.dir = func(path string) string { return path }
	}
	n.addSystem()
	if o.Files != nil {
		n.main = o.Files.Main
	}
	n.addFiles(o.Files)
	n.addNamed(&o)
	n.addListeners(o.Config)
	n.addUpstreams(o.Config)
	for i := range o.Config.Defined {
		f := &o.Config.Defined[i]
		for key, path := range f.Files("read", "page") {
			n.read(f.Kind.Section+"."+f.Name+"."+key, f.Pos, path)
		}
		for key, path := range f.Files("write", "log") {
			n.write(f.Kind.Section+"."+f.Name+"."+key, f.Pos, path, false)
		}
	}
	n.addAdmin(o.Config)
	for _, path := range o.Config.Language.Files() {
		n.read("lists and maps", config.Pos{}, path)
	}
	if o.Program != "" {
		n.add(Need{Key: "program", Path: o.Program, Access: Execute, Later: true})
	}
	return n
}

// Bind adds a TCP port at which a listener listens.
func (n *Needs) Bind(listener string, port int) { n.add(Need{Key: "listener " + listener, Port: port}) }

func (n *Needs) add(need Need) {
	if need.Path == "" && need.Port < 0 {
		return
	}
	if need.Path != "" {
		path, err := filepath.Abs(n.dir(need.Path))
		if err != nil {
			return // there is no working directory, so nothing can be opened by this path
		}
		need.Path, need.Port = path, -1
	}
	if !slices.Contains(n.list, need) {
		n.list = append(n.list, need)
	}
}

func (n *Needs) read(key string, pos config.Pos, path string) {
	if path != "" {
		n.add(Need{Key: key, Pos: pos, Path: path})
	}
}

func (n *Needs) write(key string, pos config.Pos, path string, later bool) {
	if path != "" && path != "stdout" && path != "stderr" {
		n.add(Need{Key: key, Pos: pos, Path: path, Access: Write, Later: later})
	}
}

// systemFiles are what Go's packages and edge read wherever they run: names and addresses, accounts, time zones,
// authorities, and what the kernel says of the process, its memory and its processors.
var systemFiles = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/protocols", "/etc/gai.conf",
	"/etc/host.conf", "/etc/passwd", "/etc/group", "/etc/localtime", "/etc/mime.types",
}

// systemFolders are read as a whole. /proc may be among them: Landlock does not let a process trace others that are not
// limited as it is, nor read their secrets there.
var systemFolders = []string{
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/usr/share/zoneinfo", "/proc", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage", "/sys/devices/system/cpu",
}

func (n *Needs) addSystem() {
	for _, path := range systemFiles {
		n.read("system", config.Pos{}, path)
	}
	n.read("SSL_CERT_FILE", config.Pos{}, os.Getenv("SSL_CERT_FILE"))
	folders := slices.Concat(systemFolders, filepath.SplitList(os.Getenv("SSL_CERT_DIR")))
	for _, path := range folders {
		n.add(Need{Key: "system", Path: path, Folder: true})
	}
	n.write("system", config.Pos{}, os.DevNull, false)
	n.read("system", config.Pos{}, "/dev/urandom")
	n.read("system", config.Pos{}, "/dev/tty") // only to see whether there is one
}

// addFiles adds the files of the configuration, and the folders in which patterns look for more.
func (n *Needs) addFiles(f *config.Files) {
	if f == nil {
		return
	}
	for i := range f.Texts {
		n.read("include", config.Pos{}, f.Texts[i].Path)
		n.read("include", config.Pos{}, f.Texts[i].Real)
	}
	for _, path := range f.Quoted {
		n.read("${file:…}", config.Pos{}, path)
	}
	for i := range f.Globs {
		dir := f.Globs[i].Pattern
		for strings.ContainsAny(dir, `*?[\`) {
			dir = filepath.Dir(dir)
		}
		n.add(Need{Key: "include", Path: dir, Folder: true})
	}
}

func (n *Needs) addNamed(o *Options) {
	for _, f := range o.Config.Files("read", "page", "write", "log") {
		switch {
		case f.Key == "cert" && f.Path == config.InternalCert:
			if o.StateDir != "" {
				n.add(Need{Key: "cert = \"internal\"", Path: filepath.Join(o.StateDir, server.AuthorityFolder),
					Access: Write, Folder: true})
			}
		case f.Key == "cert" && f.Path == config.ACMECert: // its folder is below
		case f.Use == "read" || f.Use == "page":
			n.read(f.Key, f.Pos, f.Path)
		case o.Config.LogsToFile(f.Path):
			n.write(f.Key, f.Pos, f.Path, f.Restart)
		}
	}
	if of := caching.Of(o.Config); of.DiskPath != "" {
		n.add(Need{Key: "disk.path", Pos: of.DiskPos(), Path: of.DiskPath, Access: Write, Folder: true, Later: true})
	}
	if path := server.ACMEPath(o.Config, o.StateDir); path != "" {
		n.add(Need{Key: "acme.storage", Path: path, Access: Write, Folder: true})
	}
	if of := acme.Of(o.Config); of != nil && of.Etcd() != nil {
		n.source("acme.storage", acme.PlaceOf(o.Config), of.Storage)
	}
	if of := acme.Of(o.Config); of != nil && of.Program() != "" {
		n.add(Need{Key: "acme.dns", Path: of.Program(), Access: Execute})
	}
	if g := &o.Config.Global; o.Versions != "" && g.Versions > 0 {
		n.add(Need{Key: "versions_dir", Path: o.Versions, Access: Write, Folder: true, Later: true})
	}
}

func (n *Needs) addListeners(c *config.Config) {
	for _, l := range c.Listening() {
		for j := range l.Addresses {
			n.address("listener "+l.Name, &l.Addresses[j])
		}
	}
}

// address adds what listening at a needs: its port, or the folder where its socket is made.
func (n *Needs) address(key string, a *value.Address) {
	if a.Network == "unix" {
		n.write(key, a.Pos, a.Path, false)
		return
	}
	n.add(Need{Key: key, Pos: a.Pos, Port: a.Port})
}

// addUpstreams adds what discovery and registration read and write.
func (n *Needs) addUpstreams(c *config.Config) {
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		for _, text := range u.Discovery.Sources {
			n.source("upstream "+u.Name, u.Pos, text)
		}
	}
	for i := range c.Registrations {
		r := &c.Registrations[i]
		n.source("register", r.Pos, r.To)
		if at, err := locator.ParseRegistry(r.To); err == nil && at.Scheme == "file" {
			n.write("register", r.Pos, at.Path, false)
		}
	}
}

// source adds the files that a source or a registry reads. A scheme of the program's own is not looked into.
func (n *Needs) source(key string, pos config.Pos, text string) {
	at, err := locator.Parse(text)
	if err != nil {
		return
	}
	if at.Scheme == "file" {
		n.read(key, pos, at.Path)
	}
	if at.Scheme == "k8s" {
		n.add(Need{Key: key, Pos: pos, Path: discovery.KubeFolder, Folder: true})
	}
	for _, name := range []string{"ca", "token_file"} {
		n.read(key, pos, at.Params.Get(name))
	}
}

// addAdmin adds the addresses of [admin] and [metrics].
func (n *Needs) addAdmin(c *config.Config) {
	a := schema.Only[*admin.Settings](c.Features)
	if a == nil {
		a = &admin.Settings{}
	}
	for i := range a.Listen.Addresses {
		n.address("admin.listen", &a.Listen.Addresses[i])
	}
	if !a.Listen.Off && len(a.Listen.Addresses) == 0 {
		for _, socket := range admin.DefaultSockets(&config.Global{Lockdown: config.LockdownOn}) {
			n.write("admin.listen", config.Pos{}, socket, false)
		}
	}
	if m := schema.Only[*admin.MetricsSettings](c.Features); m != nil {
		for i := range m.Listen.Addresses {
			n.address("metrics.listen", &m.Listen.Addresses[i])
		}
	}
}
