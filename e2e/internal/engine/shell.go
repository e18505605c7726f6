package engine

import (
	"regexp"
	"strings"
)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// ShellWord quotes a word for a POSIX shell where it needs that.
func ShellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// shellLine is a command with variables of its environment, for a POSIX shell.
func shellLine(env []string, args ...string) string {
	words := make([]string, 0, len(env)+len(args))
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		words = append(words, name+"="+ShellWord(value))
	}
	for _, arg := range args {
		words = append(words, ShellWord(arg))
	}
	return strings.Join(words, " ")
}
