package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/syntax"
)

// compare loads each configuration twice: from the texts as they are, and from those to be written. It returns an error
// unless both mean the same. Each of args is a configuration by itself. Without args there is one, which -c names or
// edge run would find.
func (o *formatOptions) compare(problems io.Writer, files []*formattedFile, args []string) error {
	after := make(map[string][]byte, len(files)) // by path
	differs := false
	for _, f := range files {
		differs = differs || f.Differs
		if path, err := pathWithoutLinks(f.File); err == nil {
			after[path] = f.after
		}
	}
	if !differs {
		return nil
	}
	if len(args) == 0 && files[0].File != stdinName {
		path, _ := o.locate()
		args = []string{path}
	} else if len(args) == 0 {
		args = []string{stdinName}
	}
	for _, path := range args {
		if path == stdinName {
			i := slices.IndexFunc(files, func(f *formattedFile) bool { return f.File == stdinName })
			if err := compareText(problems, files[i]); err != nil {
				return err
			}
			continue
		}
		var read config.Files
		before, rep := config.Options{TextOnly: true, Places: true, Record: &read}.Load(path)
		if before == nil {
			return refuseCanonical(problems, rep, fmt.Sprintf("%s is no configuration by itself, so it cannot be "+
				"compared: -c names the file that includes it", path))
		}
		for i := range read.Texts {
			if text, found := after[read.Texts[i].Real]; found {
				read.Texts[i].Text = text
			}
		}
		now, rep := config.Options{TextOnly: true, Kept: &read}.Load(path)
		if err := sameConfig(problems, path, before, now, rep); err != nil {
			return err
		}
	}
	return nil
}

func pathWithoutLinks(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// compareText is compare for the standard input.
func compareText(problems io.Writer, f *formattedFile) error {
	before, rep := config.Options{TextOnly: true, Places: true}.Parse(f.File, f.before)
	if before == nil {
		return refuseCanonical(problems, rep, "this is no configuration by itself, so it cannot be compared")
	}
	now, rep := config.Options{TextOnly: true}.Parse(f.File, f.after)
	return sameConfig(problems, f.File, before, now, rep)
}

// sameConfig returns an error unless now means the same as before. rep is the report about now.
func sameConfig(problems io.Writer, path string, before, now *config.Config, rep *syntax.Report) error {
	if now == nil {
		if err := refusesPlain(path, before); err != nil {
			return err
		}
		return refuseCanonical(problems, rep, fmt.Sprintf("%s has no canonical form: with canonical names there would "+
			"be the errors above, in lines of the result", path))
	}
	if !config.Same(before, now) {
		return fmt.Errorf("%s has no canonical form that means the same, so nothing is written: entries of one table "+
			"are spread over several places", path)
	}
	return nil
}

// refusesPlain returns an error where a [network] of c demands what plain requests cannot meet. There they are answered
// 421, which no key says: tls = "auto" beside such a key is an error, since it looks as if plain requests were served.
func refusesPlain(path string, c *config.Config) error {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if l.TLS != config.TLSAuto || l.RedirectToHTTPS {
			continue
		}
		for _, key := range []string{"client_auth", "client_ca", "strict_sni"} {
			at, given := c.Places.Of(l, key)
			if !given || key != "strict_sni" && l.TLSOptions.ClientAuth != config.ClientAuthRequire ||
				key == "strict_sni" && !l.TLSOptions.StrictSNI {
				continue
			}
			return fmt.Errorf("%s has no canonical form: the [network] at %v takes plain requests too and answers "+
				"them 421 because of %s at %v, for which [[listeners]] has no key. Add tls = true to it, which takes "+
				"TLS alone, or redirect_to_https = true. Nothing is written", path, l.Pos, key, at)
		}
	}
	return nil
}

// refuseCanonical shows the errors of a report, and says what they mean here.
func refuseCanonical(problems io.Writer, rep *syntax.Report, what string) error {
	errorsAlone := &syntax.Report{Errors: rep.Errors, More: rep.More}
	if err := errorsAlone.Render(problems); err != nil {
		return err
	}
	return fmt.Errorf("%s. Nothing is written", what)
}
