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
		before, rep := config.Options{TextOnly: true, Record: &read}.Load(path)
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
	before, rep := config.Options{TextOnly: true}.Parse(f.File, f.before)
	if before == nil {
		return refuseCanonical(problems, rep, "this is no configuration by itself, so it cannot be compared")
	}
	now, rep := config.Options{TextOnly: true}.Parse(f.File, f.after)
	return sameConfig(problems, f.File, before, now, rep)
}

// sameConfig returns an error unless now means the same as before. rep is the report about now.
func sameConfig(problems io.Writer, path string, before, now *config.Config, rep *syntax.Report) error {
	switch {
	case now == nil:
		return refuseCanonical(problems, rep, fmt.Sprintf("%s has no canonical form: with canonical names there would "+
			"be the errors above, in lines of the result", path))
	case !config.Same(before, now):
		return fmt.Errorf("%s has no canonical form that means the same, so nothing is written: entries of one table "+
			"are spread over several places", path)
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
