package packaging

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// image is a stage of the Dockerfile from nothing.
type image struct {
	copies     [][]string // words of COPY
	user       string
	env        []string
	ports      []string
	entry, cmd []string
	health     []string
}

// readDockerfile returns the last stage of the Dockerfile.
func readDockerfile(t *testing.T) image {
	t.Helper()
	i := readStages(t)[""]
	if i.user != "65532:65532" || i.entry == nil {
		t.Errorf("the last stage has USER %s, ENTRYPOINT %q", i.user, i.entry)
	}
	return i
}

// readStages returns the stages of the Dockerfile from nothing, by name.
func readStages(t *testing.T) map[string]image {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var i image
	var from, name string
	stages, images := map[string]bool{}, map[string]image{}
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		list := func() (l []string) {
			if err := json.Unmarshal([]byte(rest), &l); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			return l
		}
		switch word {
		case "", "#", "ARG", "WORKDIR":
		case "FROM":
			i, stages[name] = image{}, true
			from, name, _ = strings.Cut(rest, " AS ")
		case "RUN":
			if from == "scratch" {
				t.Errorf("%q: there is no shell in the image", line)
			}
		case "COPY":
			i.copies = append(i.copies, strings.Fields(rest))
			of, _, _ := strings.Cut(strings.TrimPrefix(rest, "--from="), " ")
			if from == "scratch" && !stages[of] {
				t.Errorf("%q is of no stage", line)
			}
		case "USER":
			i.user = rest
		case "ENV":
			i.env = append(i.env, rest)
		case "EXPOSE":
			i.ports = strings.Fields(rest)
		case "HEALTHCHECK":
			_, rest, _ = strings.Cut(rest, " CMD ")
			i.health = list()
		case "ENTRYPOINT":
			i.entry = list()
		case "CMD":
			i.cmd = list()
		default:
			t.Errorf("%q", line)
		}
		if from == "scratch" {
			images[name] = i
		}
	}
	return images
}

// Each program that an image holds is bytes that every machine fetches: the one of edge has no other program.
func TestImage_programs(t *testing.T) {
	images := readStages(t)
	for name, want := range map[string]string{"": "edge", "tools": "edge-import edge-bench"} {
		var has []string
		for _, words := range images[name].copies {
			if dir, file := filepath.Split(words[len(words)-1]); dir == "/usr/local/bin/" {
				has = append(has, file)
			}
		}
		if got := strings.Join(has, " "); got != want {
			t.Errorf("the image %q has the programs %q, want %q", name, got, want)
		}
	}
}

// unpack makes the file system of the image from the lines of its Dockerfile. What the build stage would have comes
// from this tree and this machine.
func (i *image) unpack(t *testing.T) string {
	t.Helper()
	root := openDir(t)
	places := map[string]string{
		"/src/bin/edge": testutil.Binary(t, "./cmd/edge"),
		"/empty":        t.TempDir(),
	}
	for _, words := range i.copies {
		owner := -1
		for strings.HasPrefix(words[0], "--") {
			if words[0] == "--chown=65532:65532" {
				owner = ordinary
			}
			words = words[1:]
		}
		from, to := words[0], filepath.Join(root, words[1])
		if place := places[from]; place != "" {
			from = place
		} else if own, found := strings.CutPrefix(from, "/src/"); found {
			from = filepath.Join(testutil.Root(t), own)
		}
		copyTo(t, from, to)
		if owner >= 0 && os.Geteuid() == 0 {
			if err := os.Chown(to, owner, owner); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// copyTo copies a file with its rights, or makes a folder of which nothing is copied.
func copyTo(t *testing.T, from, to string) {
	t.Helper()
	at, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(to)
	if at.IsDir() {
		folder = to
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // as in an image
		t.Fatal(err)
	}
	if at.IsDir() {
		return
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, at.Mode().Perm()|0o444); err != nil { //nolint:gosec // as in an image
		t.Fatal(err)
	}
}

// libraries returns options that bind what a binary loads, where it is not static as that of a release is: the binary
// of a test may be linked with the C library of this machine.
func libraries(t *testing.T, program, root string) (options []string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return nil
	}
	for _, dir := range []string{"/lib", "/lib64"} {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil { //nolint:gosec // as in an image
			t.Fatal(err)
		}
		options = append(options, "--ro-bind", real, dir)
	}
	return options
}

// The image answers as its first lines promise: docker run -p 80:80 -p 443:443. Its user is an ordinary one, which may
// open the ports as Docker's sysctl lets it: here by the capability, since the sysctl is not the sandbox's to set.
func TestImage(t *testing.T) {
	i := readDockerfile(t)
	root := i.unpack(t)
	runImage(t, root, slices.Concat(i.entry, i.cmd), i.env)
	if !slices.Equal(i.health, append(slices.Clone(i.entry), "status", "--live")) {
		t.Errorf("HEALTHCHECK %q", i.health)
	}
	if !slices.Equal(i.ports, []string{"80", "443", "443/udp"}) {
		t.Errorf("EXPOSE %q", i.ports)
	}
}

// runImage runs the command line of an image on its file system, and ends it.
func runImage(t *testing.T, root string, command, env []string) {
	t.Helper()
	options := append([]string{"--bind", root, "/"}, libraries(t, filepath.Join(root, command[0]), root)...)
	options = append(options, "--unshare-pid", "--as-pid-1", "--proc", "/proc", "--clearenv", "--chdir", "/")
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		options = append(options, "--setenv", name, value)
	}
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil { //nolint:gosec // as an engine makes it
		t.Fatal(err)
	}
	s := startSandbox(t, options, command, nil)
	s.process.WaitLine(`"listening".*:443`)
	for _, url := range []string{"http://127.0.0.1/", "https://127.0.0.1/"} {
		if status, body := s.get(url); status != "200" || !strings.Contains(body, "<html") {
			t.Errorf("%s: %s %s", url, status, body)
		}
	}
	if uid := s.status("Uid"); os.Geteuid() == 0 && !strings.HasPrefix(uid, "65532\t65532\t65532\t65532") {
		t.Errorf("it runs as %s", uid)
	}
	owned := map[string]bool{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, _ fs.DirEntry, err error) error {
		var at unix.Stat_t
		if err == nil {
			err = unix.Lstat(filepath.Join(root, path), &at)
		}
		owned[path] = at.Uid == ordinary
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 && (owned["etc/edge/edge.toml"] || owned["usr/local/bin/edge"] || !owned["var/lib/edge"]) {
		t.Error("the user of the image owns what it must not, or not what it must")
	}
	if err := unix.Kill(s.pid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.process.Wait(testutil.Minutes); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What is ignored by docker build is nothing that the build needs, and .git is none of it.
func TestImage_ignores(t *testing.T) {
	text, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Fields(string(text))
	if !slices.Contains(ignored, ".git") || !slices.Contains(ignored, "dist") {
		t.Errorf("%q", ignored)
	}
	for _, name := range ignored {
		made := slices.Contains([]string{".git", "bin", "dist"}, name)
		if _, err := os.Stat(filepath.Join("..", name)); err == nil && !made {
			t.Errorf("%s is ignored", name)
		}
	}
}

// The example of compose mounts a configuration that edge takes, and its keys are those that Docker has for them.
func TestCompose(t *testing.T) {
	text, err := os.ReadFile("docker/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Build, Image, Restart string
			Ports, Volumes, Tmpfs []string
			Expose                []string
			Sysctls               map[string]int
			Ulimits               map[string]int
			CapDrop               []string `yaml:"cap_drop"`
			SecurityOpt           []string `yaml:"security_opt"`
			ReadOnly              bool     `yaml:"read_only"`
			StopGracePeriod       string   `yaml:"stop_grace_period"`
			DependsOn             []string `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	edge := file.Services["edge"]
	if at, err := os.Stat(filepath.Join("docker", edge.Build, "Dockerfile")); err != nil || at.IsDir() {
		t.Errorf("build: %s: %v", edge.Build, err)
	}
	for _, v := range edge.Volumes {
		from, _, _ := strings.Cut(v, ":")
		if _, named := file.Volumes[from]; named {
			continue
		}
		conf := filepath.Join("docker", from, "edge.toml")
		if out, err := exec.Command(testutil.Binary(t, "./cmd/edge"), "check", conf).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", conf, err, out)
		}
		text, err := os.ReadFile(conf)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^dest\s*= "(\w+):(\d+)"`).FindSubmatch(text)
		if m == nil || !slices.Equal(file.Services[string(m[1])].Expose, []string{string(m[2])}) {
			t.Errorf("%s leads to %q", conf, m)
		}
	}
	i := readDockerfile(t)
	for _, p := range edge.Ports {
		if _, inner, _ := strings.Cut(p, ":"); !slices.Contains(i.ports, inner) {
			t.Errorf("port %s", p)
		}
	}
	if !edge.ReadOnly || fmt.Sprint(edge.CapDrop) != "[ALL]" || len(edge.Tmpfs) != 1 {
		t.Errorf("%+v", edge)
	}
}
