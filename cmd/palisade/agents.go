package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/nodeagent/flows"
)

const (
	agentLabel     = "app.kubernetes.io/name"
	agentName      = "palisade-nodeagent"
	agentContainer = "nodeagent"
)

// agents are those of a cluster, each of which has the records of its node.
type agents struct {
	asked bool
	live  live
}

func (a *agents) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&a.asked, "cluster", false, "ask the agents of all nodes of the cluster of KUBECONFIG instead, by kubectl exec's API")
	a.live.addFlags(flags)
	flags.StringVar(&a.live.system, "system-namespace", "palisade-system", "namespace of the agents; with --cluster")
}

// records calls each with the lines of all agents: in the order of their times, or as they
// come where the query follows. An agent that cannot be asked, or ends, is named at once,
// and the others' records are given out all the same.
func (a *agents) records(ctx context.Context, e *env, command string, q flows.Query, each func([]byte) error) error {
	config, err := a.live.config()
	if err != nil {
		return err
	}
	pods, err := a.running(ctx)
	if err != nil {
		return err
	}
	args := []string{"/palisade", command, "-o", "json", "--last", strconv.Itoa(q.Last)}
	if q.Follow {
		args = append(args, "--follow")
	}
	var mu sync.Mutex
	var past []record
	take := func(line []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if q.Follow {
			return each(line)
		}
		past = append(past, newRecord(line))
		return nil
	}
	var silent []string
	var wg sync.WaitGroup
	for _, pod := range pods {
		wg.Go(func() {
			err := runBeside(ctx, config, &pod, args, take)
			if ctx.Err() != nil || err == nil && !q.Follow {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			silent = append(silent, pod.Spec.NodeName)
			fmt.Fprintf(e.stderr, "palisade: warning: node %s (pod %s) gives no records: %v\n", pod.Spec.NodeName, pod.Name, cmp.Or(err, errAgentEnded))
		})
	}
	wg.Wait()
	slices.SortStableFunc(past, func(x, y record) int { return x.time.Compare(y.time) })
	for _, r := range past {
		if err := each(r.line); err != nil {
			return err
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		return fmt.Errorf("--cluster: there are no records of %d of %d nodes: %s", len(silent), len(pods), strings.Join(silent, ", "))
	}
	return nil
}

var errAgentEnded = errors.New("its agent ended")

// record is a line with the time that it has.
type record struct {
	time time.Time
	line []byte
}

// newRecord keeps a line. One without a time, a count of losses, comes first.
func newRecord(line []byte) record {
	var r struct {
		Time time.Time `json:"time"`
	}
	_ = json.Unmarshal(line, &r) // who prints it says what is wrong
	return record{r.Time, bytes.Clone(line)}
}

// running are the pods of agents, by node. Nodes whose agent does not run have no records
// to give, and are an error.
func (a *agents) running(ctx context.Context) ([]corev1.Pod, error) {
	c, err := a.live.client()
	if err != nil {
		return nil, err
	}
	var list corev1.PodList
	if err := c.List(ctx, &list, client.InNamespace(a.live.system), client.MatchingLabels{agentLabel: agentName}); err != nil {
		return nil, listError("Pods of "+a.live.system, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(pods) == 0 {
		return nil, fmt.Errorf("--cluster: no agents in the namespace %s (label %s=%s): install Palisade, or name its namespace by --system-namespace",
			a.live.system, agentLabel, agentName)
	}
	slices.SortFunc(pods, func(x, y corev1.Pod) int { return cmp.Compare(x.Spec.NodeName, y.Spec.NodeName) })
	return pods, nil
}

// runBeside runs a program beside an agent and calls each with every line that it prints.
func runBeside(ctx context.Context, config *rest.Config, pod *corev1.Pod, args []string, each func([]byte) error) error {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	url := clients.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: agentContainer, Command: args, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	// As kubectl does: web sockets, and SPDY where a proxy or an older API server has none.
	sockets, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
	if err != nil {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", url)
	if err != nil {
		return err
	}
	executor, err := remotecommand.NewFallbackExecutor(sockets, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, in := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := flows.Lines(ctx, lines, each)
		lines.CloseWithError(err)
		cancel() // whoever reads wants no more
		read <- err
	}()
	var said bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: in, Stderr: &said})
	in.Close()
	if rerr := <-read; rerr != nil {
		return rerr
	}
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}
