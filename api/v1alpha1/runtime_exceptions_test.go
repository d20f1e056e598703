package v1alpha1

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExceptionsEnd(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	of := func(name string, after time.Duration) RuntimeException {
		return RuntimeException{Name: RuleName(name), ExpiresAt: metav1.NewTime(now.Add(after))}
	}
	rules := RuntimeRules{
		Executables: &ExecutableSection{Exceptions: []ExecutableException{{RuntimeException: of("z", -time.Hour)}}},
		Files:       &FileSection{Exceptions: []FileException{{RuntimeException: of("b", 0)}, {RuntimeException: of("c", time.Second)}}},
		Privileges:  &PrivilegeSection{Exceptions: []PrivilegeException{{RuntimeException: of("p", -time.Second)}}},
		Network:     &SocketSection{Exceptions: []SocketException{{RuntimeException: of("n", -time.Minute)}}},
	}
	all := rules.Exceptions()
	if len(all) != 5 || !all["files/c"].Equal(now.Add(time.Second)) {
		t.Errorf("exceptions: %v", all)
	}
	if have := strings.Join(Ended(all, now), " "); have != "executables/z files/b network/n privileges/p" {
		t.Errorf("ended: %s", have)
	}
	if have := (&RuntimeRules{}).Exceptions(); len(have) != 0 {
		t.Errorf("of nothing: %v", have)
	}
}
