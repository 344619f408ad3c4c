package build

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// Set by the linker in releases.
var version, commit string

const (
	unknown       = "dev"
	revisionShown = 12 // characters, as many as in the versions that Go makes of commits
)

// ID names a build. Two of them are the same one when Sum is equal; the rest is for people.
type ID struct {
	Version string // such as "1.2.3"; "dev" where nothing is known
	Commit  string // of git, in full; "" where nothing is known
	Sum     string // SHA-256 of the program's file, in hex
}

// Version returns the version of this program: the linker's, else the version of the module as "go install" knows it,
// else "dev" with the commit that "go build" found.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return versionOf(info)
}

// Commit returns the commit of git that this program was built from, with "-dirty" where files had changed since; ""
// where nothing is known.
func Commit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return commitOf(info)
}

// Own returns the build of this process. The file is read once, and found also after another one has taken its place:
// /proc/self/exe leads to the file that runs. Without /proc, the error is Sum's.
var Own = sync.OnceValues(func() (ID, error) {
	sum, err := Sum("/proc/self/exe")
	return ID{Version: Version(), Commit: Commit(), Sum: sum}, err
})

// Sum returns the SHA-256 of a file in hex. Errors come from os.Open and from reading.
func Sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// versionOf returns the version that the go command has noted in a binary.
func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, modified := revisionOf(info)
	if revision == "" {
		return unknown
	}
	v := unknown + "-" + revision[:min(len(revision), revisionShown)]
	if modified {
		v += "-dirty"
	}
	return v
}

func commitOf(info *debug.BuildInfo) string {
	revision, modified := revisionOf(info)
	if revision != "" && modified {
		revision += "-dirty"
	}
	return revision
}

func revisionOf(info *debug.BuildInfo) (revision string, modified bool) {
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return revision, modified
}
