package events

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
	tests := map[string]struct{ args, want []string }{
		"nothing":                      {nil, nil},
		"no secret":                    {[]string{"ls", "-l", "--color=auto", "/etc/passwd"}, []string{"ls", "-l", "--color=auto", "/etc/passwd"}},
		"option with a value":          {[]string{"x", "--password=hunter2", "-v"}, []string{"x", "--password=***", "-v"}},
		"a value with spaces":          {[]string{"x", "--db-password=a b;c,d"}, []string{"x", "--db-password=***"}},
		"option and value":             {[]string{"x", "--token", "abc", "run"}, []string{"x", "--token", "***", "run"}},
		"a value with a hyphen":        {[]string{"x", "--token", "-abc", "run"}, []string{"x", "--token", "***", "run"}},
		"an option without value":      {[]string{"x", "--password", "--verbose", "y"}, []string{"x", "--password", "--verbose", "y"}},
		"one hyphen":                   {[]string{"java", "-Djavax.net.ssl.keyStorePassword=abc", "-jar", "x"}, []string{"java", "-Djavax.net.ssl.keyStorePassword=***", "-jar", "x"}},
		"environment":                  {[]string{"env", "PGPASSWORD=abc", "AWS_SECRET_ACCESS_KEY=d", "HOME=/x", "psql"}, []string{"env", "PGPASSWORD=***", "AWS_SECRET_ACCESS_KEY=***", "HOME=/x", "psql"}},
		"a file of a secret":           {[]string{"x", "--password-file=/run/p", "--token-path", "/t"}, []string{"x", "--password-file=/run/p", "--token-path", "/t"}},
		"camel case":                   {[]string{"x", "--apiKey=abc", "--clientSecret", "d"}, []string{"x", "--apiKey=***", "--clientSecret", "***"}},
		"no part of a name":            {[]string{"x", "--compass=north", "--author=me", "--bypass"}, []string{"x", "--compass=north", "--author=me", "--bypass"}},
		"mysql":                        {[]string{"/usr/bin/mysql", "-u", "root", "-phunter2", "shop"}, []string{"/usr/bin/mysql", "-u", "root", "-p***", "shop"}},
		"mysql that asks":              {[]string{"mysql", "-p", "shop"}, []string{"mysql", "-p", "shop"}},
		"ports":                        {[]string{"ssh", "-p", "2222", "host"}, []string{"ssh", "-p", "2222", "host"}},
		"published ports":              {[]string{"docker", "run", "-p8080:80", "x"}, []string{"docker", "run", "-p8080:80", "x"}},
		"curl":                         {[]string{"curl", "-u", "me:pw", "--user=me:pw", "https://me:pw@host/x"}, []string{"curl", "-u", "***", "--user=***", "https://me:***@host/x"}},
		"a header":                     {[]string{"curl", "-H", "Authorization: Bearer abc.def", "-H", "Accept: text/html"}, []string{"curl", "-H", "Authorization: ***", "-H", "Accept: text/html"}},
		"a header of another name":     {[]string{"curl", "-HX-Api-Key: abc"}, []string{"curl", "-HX-Api-Key: ***"}},
		"a query":                      {[]string{"curl", "https://h/x?a=b&access_token=abc&c=d"}, []string{"curl", "https://h/x?a=b&access_token=***&c=d"}},
		"a URL of an option":           {[]string{"x", "--dsn=postgres://app:pw@db:5432/shop"}, []string{"x", "--dsn=postgres://app:***@db:5432/shop"}},
		"a shell's text":               {[]string{"sh", "-c", "cd /; PGPASSWORD='a b' psql --password hunter2 -h db && echo done"}, []string{"sh", "-c", "cd /; PGPASSWORD=*** psql --password *** -h db && echo done"}},
		"a token by its shape":         {[]string{"x", jwt, "ghp_abcdefghijklmnopqrstuvwx"}, []string{"x", "***", "***"}},
		"a key":                        {[]string{"x", "-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----"}, []string{"x", "***"}},
		"its own name":                 {[]string{"x --password=abc"}, []string{"x --password=***"}},
		"an option of one's own":       {[]string{"x", "--license", "abc", "y"}, []string{"x", "--license", "***", "y"}},
		"a pattern of one's own":       {[]string{"x", "--key:abc:end", "--key:abc"}, []string{"x", "--key:***:end", "--key:abc"}},
		"what follows is cut off":      {[]string{"x", "--password"}, []string{"x", "--password"}},
		"a switch":                     {[]string{"psql", "--no-password", "-h", "db"}, []string{"psql", "--no-password", "-h", "db"}},
		"a secret that is many things": {[]string{"x", "--set", "auth.password=abc,image.tag=1"}, []string{"x", "--set", "auth.password=***"}},
	}
	r := NewRedactor([]string{"--license", "--key:**:end"})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tc.args)
			if got := r.Redact(tc.args); !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if !slices.Equal(before, tc.args) {
				t.Errorf("the arguments themselves are %q now", tc.args)
			}
		})
	}
}

// TestRedactLeavesNothing: whatever stands around it, what follows an option of a secret
// is gone, and the command line keeps its length.
func TestRedactLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const secret = "Xq7Zk0vJ"
		other := rapid.SampledFrom([]string{"-v", "run", "--a=b", "https://h/?x=y", "", "a b", "-p", "=", "KEY=", "é\x80"})
		before, after := rapid.SliceOfN(other, 0, 4).Draw(t, "before"), rapid.SliceOfN(other, 0, 4).Draw(t, "after")
		option := rapid.SampledFrom([]string{"--password", "--db-token", "-secret", "--API_KEY", "--client-secret"}).Draw(t, "option")
		args := append([]string{"program"}, before...)
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			args = append(args, option+"="+secret)
		case 1:
			args = append(args, option, secret)
		case 2:
			args = append(args, "echo x; y "+option+" "+secret+" z")
		default:
			args = append(args, "a://u:"+secret+"@h")
		}
		args = append(args, after...)
		got := NewRedactor(nil).Redact(args)
		if len(got) != len(args) || strings.Contains(strings.Join(got, "\n"), secret) {
			t.Fatalf("%q: %q", args, got)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	r := NewRedactor(nil)
	args := []string{"/usr/bin/psql", "--host=db", "--password=hunter2", "-c", "select * from orders where id = 5"}
	for b.Loop() {
		r.Redact(args)
	}
}
