package config

import (
	"strings"
	"testing"
)

// What is wrong with a condition on a field of credentials is said without its value: an answer of /v1/diff has it too.
func TestConditions_quoteNoSecret(t *testing.T) {
	for condition, quoted := range map[string]bool{
		`header = { Authorization = "~Bearer 5ecret(" }`: false,
		`header = { X-Api-Key = "~5ecret[" }`:            false,
		`query = { access_token = "~5ecret(" }`:          false,
		`header = { User-Agent = "~5ecret(" }`:           true,
	} {
		text := "http.listen = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n" + condition + "\n"
		_, rep := Parse("edge.toml", []byte(text))
		if len(rep.Errors) != 1 || !strings.Contains(rep.Errors[0].Message, "missing closing") {
			t.Errorf("%s: %v", condition, rep.Errors)
			continue
		}
		if p := rep.Errors[0]; strings.Contains(p.Message+p.Hint, "5ecret") != quoted {
			t.Errorf("%s: %s (%s)", condition, p.Message, p.Hint)
		}
	}
}
