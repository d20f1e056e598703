package status

import (
	"testing"
	"time"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/publish"
)

func TestViewOfAPolicy(t *testing.T) {
	const since = publish.Counter(10)
	lacks := func(reason string) *publish.Condition { return &publish.Condition{Reason: reason, Message: "m"} }
	refusal := func(c publish.Counter) *publish.Refusal { return &publish.Refusal{Counter: c, Reason: "KernelRefused"} }
	long := Grace + time.Second
	tests := map[string]struct {
		view   View
		want   Progress
		reason string
	}{
		"never connected":               {View{Away: long}, Waiting, ""},
		"just connected":                {View{Connected: time.Second}, Waiting, ""},
		"connected, holds nothing":      {View{Connected: long}, Late, ""},
		"holds it":                      {View{Connected: long, Known: true, Counter: 10}, Realized, ""},
		"holds an older state":          {View{Connected: long, Known: true, Counter: 9, Behind: time.Second}, Waiting, ""},
		"behind for long":               {View{Connected: long, Known: true, Counter: 9, Behind: long}, Late, ""},
		"holds it, lacks something new": {View{Connected: long, Known: true, Counter: 12, Behind: time.Second}, Realized, ""},
		"holds it, lacks it for long":   {View{Connected: long, Known: true, Counter: 12, Behind: long}, Late, ""},
		"refused it":                    {View{Connected: long, Known: true, Counter: 9, Behind: time.Second, Refusal: refusal(10)}, Failed, v1alpha1.ReasonNodeRefused},
		"refused something before":      {View{Connected: long, Known: true, Counter: 8, Behind: time.Second, Refusal: refusal(9)}, Waiting, ""},
		"holds it, refused a later one": {View{Connected: long, Known: true, Counter: 12, Behind: time.Second, Refusal: refusal(13)}, Realized, ""},
		"holds it, refuses for long":    {View{Connected: long, Known: true, Counter: 12, Behind: long, Refusal: refusal(13)}, Failed, v1alpha1.ReasonNodeRefused},
		"bypassed":                      {View{Connected: time.Second, Known: true, Counter: 12, Broken: lacks(v1alpha1.ReasonDatapathBypassed)}, Failed, v1alpha1.ReasonDatapathBypassed},
		"starting":                      {View{Connected: time.Second, Broken: lacks("NoSnapshot")}, Waiting, ""},
		"not starting any more":         {View{Connected: long, Known: true, Counter: 12, Broken: lacks("NoSnapshot")}, Failed, v1alpha1.ReasonNodeRefused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.view.For("n", since, Demand{Network: true})
			if got.Progress != test.want || got.Reason != test.reason || got.Name != "n" || got.Away != test.view.Away {
				t.Errorf("got %+v, want progress %d, reason %q", got, test.want, test.reason)
			}
		})
	}
}
