package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
)

// taken are files of the sources, by their places in edge's archive. The pages of docs are taken too, and are found
// there.
var taken = map[string]string{
	"edge.toml":                  "packaging/edge.toml",
	"edge.1":                     "packaging/man/edge.1",
	"systemd/edge.service":       "packaging/systemd/edge.service",
	"systemd/edge.socket":        "packaging/systemd/edge.socket",
	"systemd/notify-reload.conf": "packaging/systemd/notify-reload.conf",
	"docs/CHANGELOG.md":          "CHANGELOG.md",
}

// completions are the files that shells look for, by the words of edge completion.
var completions = map[string]string{"bash": "edge", "zsh": "_edge", "fish": "edge.fish"}

// archives makes an archive and an SBOM of each program, for each architecture.
func (r *release) archives(b binaries) error {
	for _, arch := range r.archs {
		for _, program := range programs {
			content, err := r.content(program, arch, b)
			if err != nil {
				return err
			}
			name := r.nameOf(program, arch)
			if err := r.pack(name+".tar.gz", program+"-"+r.version, content); err != nil {
				return err
			}
			bill, err := r.spdx(program, arch, b[arch][program])
			if err == nil {
				err = write(filepath.Join(r.out, name+".spdx.json"), bill)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// nameOf is how the files of a program begin.
func (r *release) nameOf(program, arch string) string {
	return fmt.Sprintf("%s-%s-linux-%s", program, r.version, arch)
}

// content returns the files of a program's archive by their names in it.
func (r *release) content(program, arch string, b binaries) (map[string]file, error) {
	text, err := os.ReadFile(b[arch][program])
	if err != nil {
		return nil, err
	}
	all := map[string]file{program: {text: text, mode: 0o755}}
	if err := r.read(all, "LICENSE", "LICENSE"); err != nil || program != "edge" {
		return all, err
	}
	for to, from := range taken {
		if err := r.read(all, to, from); err != nil {
			return nil, err
		}
	}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md", "docs/*.svg", "docs/*/*.svg"} {
		pages, err := fs.Glob(os.DirFS(r.source), pattern)
		if err != nil {
			return nil, err
		}
		for _, page := range pages {
			if err := r.read(all, page, page); err != nil {
				return nil, err
			}
		}
	}
	for shell, name := range completions {
		text, err := exec.Command(b[runtime.GOARCH]["edge"], "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("edge completion %s: %w", shell, err)
		}
		all["completions/"+name] = file{text: text, mode: 0o644}
	}
	r.relink(all)
	if signed := r.signature(r.nameOf(program, arch), text); signed != nil {
		all[program+signature] = file{text: signed, mode: 0o644}
	}
	return all, nil
}

// localLink is a link of Markdown to a file or a section of it, up to the end of the file's name.
var localLink = regexp.MustCompile(`\]\(([^)#:\s]+)([)#])`)

// relink changes the links of pages to files that the archive lacks, such as sources: they lead to the repository, at
// the commit of the release.
func (r *release) relink(all map[string]file) {
	for page, f := range all {
		if path.Ext(page) != ".md" {
			continue
		}
		f.text = localLink.ReplaceAllFunc(f.text, func(link []byte) []byte {
			m := localLink.FindSubmatch(link)
			to := path.Join(path.Dir(page), string(m[1]))
			if _, is := all[to]; is {
				return link
			}
			return fmt.Appendf(nil, "](https://%s/blob/%s/%s%s", module, r.commit, to, m[2])
		})
		all[page] = f
	}
}

// packages makes the packages for deb and rpm of each archive, by the programs that do it for one.
func (r *release) packages(binaries) error {
	out, err := filepath.Abs(r.out)
	if err != nil {
		return err
	}
	for _, arch := range r.archs {
		for _, program := range programs {
			archive := filepath.Join(out, r.nameOf(program, arch)+".tar.gz")
			deb := exec.Command("go", "run", ".", "-archive", archive, "-out", out)
			deb.Dir = filepath.Join(r.source, "packaging", "deb")
			rpm := exec.Command("bash", "./build.sh", archive, out)
			rpm.Dir = filepath.Join(r.source, "packaging", "rpm")
			for _, cmd := range []*exec.Cmd{deb, rpm} {
				if text, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("%q in %s: %w\n%s", cmd.Args, cmd.Dir, err, text)
				}
			}
		}
	}
	return nil
}
