package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"palisade.dev/palisade/nodeagent/facts"
)

// PluginType is the plugin's name in a network configuration and its file name.
const PluginType = "palisade-cni"

// Config is the plugin's part of a network configuration.
type Config struct {
	types.PluginConf
	Socket   string   `json:"socket,omitempty"`  // default DefaultSocket
	Timeout  Duration `json:"timeout,omitempty"` // default 20s
	FailOpen bool     `json:"failOpen,omitempty"`
}

// Duration is a time.Duration that JSON writes as "20s".
type Duration time.Duration

// UnmarshalJSON reads "20s".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("timeout: want a duration as \"20s\": %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf("timeout %q: want a positive duration as \"20s\"", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON writes "20s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// Versions are the CNI versions that the plugin speaks.
var Versions = version.PluginSupports("0.4.0", "1.0.0", "1.1.0")

// Plugin is the plugin as skel runs it.
func Plugin() skel.CNIFuncs {
	return skel.CNIFuncs{Add: add, Del: del, Check: check, GC: collect, Status: status}
}

func load(stdin []byte) (Config, error) {
	c := Config{Socket: DefaultSocket, Timeout: Duration(20 * time.Second)}
	if err := json.Unmarshal(stdin, &c); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, PluginType+": configuration", err.Error())
	}
	if err := version.ParsePrevResult(&c.PluginConf); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, PluginType+": prevResult", err.Error())
	}
	return c, nil
}

func (c Config) call(r Request) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Timeout))
	defer cancel()
	return Call(ctx, c.Socket, r)
}

func add(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	if c.PrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, PluginType+" must be chained after the plugin that makes the interface", "")
	}
	r, err := request(OpAdd, args, c)
	if err == nil {
		err = c.call(r)
	}
	if err != nil && (!c.FailOpen || !errors.Is(err, ErrUnreachable)) {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s: %v", PluginType, err),
			"the pod waits until the node's Palisade agent enforces for it; see the palisade-nodeagent pod of this node")
	}
	// The interface is somebody else's work: the result goes on as it came.
	return types.PrintResult(c.PrevResult, c.CNIVersion)
}

func del(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	// DEL must succeed without the agent, or no pod could be removed while it is
	// away; it forgets interfaces that are gone on its next start.
	c.Timeout = min(c.Timeout, Duration(2*time.Second))
	r := Request{Op: OpDel, Attachment: facts.AttachmentID{Container: args.ContainerID, IfName: args.IfName}, Pod: podOf(args.Args)}
	if err := c.call(r); err != nil && !errors.Is(err, ErrUnreachable) {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s: %v", PluginType, err), "")
	}
	return nil
}

func check(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	if c.PrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, PluginType+": CHECK needs prevResult", "")
	}
	r, err := request(OpCheck, args, c)
	if err == nil {
		err = c.call(r)
	}
	if err != nil {
		return types.NewError(types.ErrInternal, fmt.Sprintf("%s: %v", PluginType, err), "")
	}
	return nil
}

func collect(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	r := Request{Op: OpGC}
	for _, a := range c.ValidAttachments {
		r.Valid = append(r.Valid, facts.AttachmentID{Container: a.ContainerID, IfName: a.IfName})
	}
	if err := c.call(r); err != nil {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s: %v", PluginType, err), "")
	}
	return nil
}

func status(args *skel.CmdArgs) error {
	c, err := load(args.StdinData)
	if err != nil {
		return err
	}
	c.Timeout = min(c.Timeout, Duration(2*time.Second))
	if err := c.call(Request{Op: OpStatus}); err != nil && (!c.FailOpen || !errors.Is(err, ErrUnreachable)) {
		return types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("%s: %v", PluginType, err), "")
	}
	return nil
}

// request tells the agent about one pod.
func request(op Op, args *skel.CmdArgs, c Config) (Request, error) {
	r := Request{Op: op, Attachment: facts.AttachmentID{Container: args.ContainerID, IfName: args.IfName}, Pod: podOf(args.Args)}
	res, err := types100.GetResult(c.PrevResult)
	if err != nil {
		return r, fmt.Errorf("prevResult: %w", err)
	}
	r.Addrs = addressesOf(res, args.IfName)
	r.Host, err = facts.InPod(args.Netns, args.IfName)
	if errors.Is(err, facts.ErrNoHostEnd) {
		return r, nil // the agent reports it; whether to run such a pod is not ours to say
	}
	return r, err
}

// podOf reads CNI_ARGS ("K=V;K=V") without refusing what it does not know.
func podOf(args string) (p facts.Pod) {
	for kv := range strings.SplitSeq(args, ";") {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "K8S_POD_NAMESPACE":
			p.Namespace = v
		case "K8S_POD_NAME":
			p.Name = v
		case "K8S_POD_UID":
			p.UID = facts.PodUID(v)
		}
	}
	return p
}

// addressesOf returns the addresses of the pod's interface: those that name it,
// and those that name none.
func addressesOf(res *types100.Result, ifname string) []netip.Addr {
	var addrs []netip.Addr
	for _, ip := range res.IPs {
		if i := ip.Interface; i != nil && *i >= 0 && *i < len(res.Interfaces) &&
			(res.Interfaces[*i].Sandbox == "" || res.Interfaces[*i].Name != ifname) {
			continue
		}
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}
