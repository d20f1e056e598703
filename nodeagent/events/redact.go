package events

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Redacted stands for what is left out.
const Redacted = "***"

// A Redactor leaves secrets out of command lines before anybody sees them. It knows
// what options are commonly called, and cannot know a secret that stands by itself.
type Redactor struct {
	patterns []string
}

// NewRedactor makes one that leaves out what patterns say, too: an argument that is
// equal to a pattern is followed by a secret; of one that matches a pattern with one **
// the text that stands for ** is left out.
func NewRedactor(patterns []string) *Redactor { return &Redactor{slices.Clone(patterns)} }

// secretWords make a name that of a secret, wherever they stand in it.
var secretWords = []string{
	"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "signingkey", "encryptionkey",
	"accountkey", "sharedkey", "credential", "authorization", "connectionstring",
}

// secretParts do so only as a whole part of it: in others they mean something else.
var secretParts = []string{"pass", "pwd", "pw", "auth", "psk", "cookie"}

// harmlessParts end names of what leads to a secret, or describes it.
var harmlessParts = []string{"file", "path", "dir", "url", "type", "ttl", "name", "length", "format", "env"}

var (
	nameParts = regexp.MustCompile(`[A-Z]?[a-z0-9]+|[A-Z0-9]+`)
	// A name and its value within a longer text: of a shell, a URL, a header.
	assigned = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]*)(=|:\s*|%3[Dd])((?:(?:Bearer|Basic|Digest|Token)\s+)?(?:"[^"]*"|'[^']*'|[^\s&;,"']+))`)
	followed = regexp.MustCompile(`(--?[A-Za-z][A-Za-z0-9_.-]*)(\s+)("[^"]*"|'[^']*'|[^\s&;|"'-][^\s&;|"']*)`)
	// What is a secret by itself.
	inURL  = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@`)
	shaped = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|\bgh[pousr]_[A-Za-z0-9]{20,}|\bglpat-[A-Za-z0-9_-]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}`)
	pem    = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*`)
)

// programOptions are the short options that secrets follow, by program: the same
// letters mean something else to others.
var programOptions = map[string][]string{
	"curl": {"-u", "--user", "-U", "--proxy-user"}, "sshpass": {"-p"}, "redis-cli": {"-a", "--pass"},
	"mysql": {"-p"}, "mysqldump": {"-p"}, "mysqladmin": {"-p"}, "mariadb": {"-p"}, "mariadb-dump": {"-p"}, "mariadb-admin": {"-p"},
	"mongo": {"-p"}, "mongosh": {"-p"}, "mongodump": {"-p"}, "mongorestore": {"-p"}, "sqlcmd": {"-P"},
	"docker": {"-p"}, "podman": {"-p"}, "nerdctl": {"-p"}, "smbclient": {"-U"}, "ldapsearch": {"-w"}, "ldapmodify": {"-w"}, "ldapadd": {"-w"},
	"openssl": {"-k", "-K", "-pass", "-passin", "-passout"}, "zip": {"-P"}, "unzip": {"-P"}, "7z": {"-p"}, "ipmitool": {"-P"}, "snmpwalk": {"-A", "-X", "-c"},
}

// attachedOnly are programs of which such an option has its secret in the same argument, and
// what follows is another.
var attachedOnly = []string{"mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump", "mariadb-admin", "7z"}

// hints are in every text with a secret that is known here: most have none.
var hints = []string{
	"pass", "pwd", "pw", "psk", "secret", "token", "key", "cred", "auth", "cookie", "connection",
	"://", "eyj", "gh", "glpat-", "xox", "-----begin",
}

func mayHold(text string) bool {
	lower := strings.ToLower(text)
	return slices.ContainsFunc(hints, func(h string) bool { return strings.Contains(lower, h) })
}

// isSecret reports whether a name is one of secrets.
func isSecret(name string) bool {
	if !mayHold(name) {
		return false
	}
	parts := nameParts.FindAllString(name, -1)
	for i := range parts {
		parts[i] = strings.ToLower(parts[i])
	}
	if len(parts) == 0 || slices.Contains(harmlessParts, parts[len(parts)-1]) {
		return false
	}
	whole := strings.Join(parts, "")
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(whole, w) }) ||
		slices.ContainsFunc(secretParts, func(p string) bool { return slices.Contains(parts, p) })
}

// Redact is a command line, the program's own name first, without its secrets.
func (r *Redactor) Redact(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	out := make([]string, len(args))
	out[0] = text(args[0])
	program := path.Base(args[0])
	next := false
	for i, a := range args[1:] {
		switch {
		case next && !isOption(a):
			out[i+1], next = Redacted, false
		default:
			out[i+1], next = r.argument(program, a)
		}
	}
	return out
}

// isOption reports whether what should be a secret is the next option instead: secrets
// begin with two hyphens too rarely.
func isOption(a string) bool {
	return strings.HasPrefix(a, "--") && len(a) > 2
}

// argument redacts one argument; next says that a secret follows.
func (r *Redactor) argument(program, a string) (out string, next bool) {
	for _, p := range r.patterns {
		prefix, suffix, any := strings.Cut(p, "**")
		switch {
		case !any && a == p:
			return a, true
		case any && len(a) >= len(prefix)+len(suffix) && strings.HasPrefix(a, prefix) && strings.HasSuffix(a, suffix):
			return prefix + Redacted + suffix, false
		}
	}
	for _, option := range programOptions[program] {
		switch {
		case a == option:
			return a, !slices.Contains(attachedOnly, program)
		case strings.HasPrefix(option, "--") && strings.HasPrefix(a, option+"="):
			return option + "=" + Redacted, false
		case len(option) == 2 && strings.HasPrefix(a, option) && program != "docker" && program != "podman" && program != "nerdctl":
			return option + Redacted, false
		}
	}
	name, _, has := strings.Cut(a, "=")
	switch {
	case has && !strings.ContainsAny(name, " /?&:") && isSecret(name):
		return name + "=" + Redacted, false
	case !has && strings.HasPrefix(a, "-") && !strings.ContainsAny(a, " :") && isSecret(a):
		return a, !strings.HasPrefix(a, "--no-")
	}
	return text(a), false
}

// text redacts what stands within an argument.
func text(a string) string {
	if !mayHold(a) {
		return a
	}
	a = pem.ReplaceAllString(a, Redacted)
	a = inURL.ReplaceAllString(a, "${1}"+Redacted+"@")
	for _, within := range []*regexp.Regexp{assigned, followed} {
		a = within.ReplaceAllStringFunc(a, func(found string) string {
			m := within.FindStringSubmatch(found)
			if !isSecret(m[1]) {
				// The value may be one of these again: a header as an option's.
				if rest := found[len(m[1]):]; within == assigned && within.MatchString(rest) {
					return m[1] + text(rest)
				}
				return found
			}
			return m[1] + m[2] + Redacted
		})
	}
	return shaped.ReplaceAllString(a, Redacted)
}
