# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# Certificates and kubeconfigs, made anew at each up: nothing of a cluster survives it.

ca() { # NAME COMMON_NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -keyout "$PKI/$1.key" -out "$PKI/$1.crt" -subj "/CN=$2" \
    -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
}

leaf() { # NAME CA SUBJECT [SUBJECT_ALT_NAMES]
  local alt=()
  [[ -z ${4-} ]] || alt=(-addext "subjectAltName=$4")
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -keyout "$PKI/$1.key" -out "$PKI/$1.crt" -subj "$3" \
    -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=serverAuth,clientAuth "${alt[@]}" 2>/dev/null
}

make_pki() { # NODE...
  local node base=kubernetes.default names
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  ca ca "$CLUSTER-ca"
  ca front-proxy-ca "$CLUSTER-front-proxy-ca"
  openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
  openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null

  names=DNS:localhost,DNS:kubernetes,DNS:$base,DNS:$base.svc,DNS:$base.svc.$DOMAIN
  leaf apiserver ca /CN=kube-apiserver \
    "IP:$(fabric4 $CP_HOST),IP:$(fabric6 $CP_HOST),IP:127.0.0.1,IP:::1,IP:$API_SERVICE_IP,$names"
  leaf apiserver-kubelet ca /CN=kube-apiserver-kubelet-client
  leaf front-proxy front-proxy-ca /CN=front-proxy
  leaf admin ca /O=system:masters/CN=admin
  leaf controller-manager ca /CN=system:kube-controller-manager "DNS:localhost,IP:127.0.0.1"
  leaf scheduler ca /CN=system:kube-scheduler "DNS:localhost,IP:127.0.0.1"
  leaf kube-proxy ca /CN=system:kube-proxy
  for node in "$@"; do
    leaf "$node" ca "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$(node_ip4 "$node"),IP:$(node_ip6 "$node")"
  done
}

# kubeconfig NAME SERVER: for the bearer of leaf NAME, with everything inside, so that the file
# can be copied into a node or a pod.
kubeconfig() {
  local ca crt key
  ca=$(base64 -w0 "$PKI/ca.crt") crt=$(base64 -w0 "$PKI/$1.crt") key=$(base64 -w0 "$PKI/$1.key")
  cat <<END
apiVersion: v1
kind: Config
clusters:
- {name: $CLUSTER, cluster: {server: "$2", certificate-authority-data: $ca}}
users:
- {name: $1, user: {client-certificate-data: $crt, client-key-data: $key}}
contexts:
- {name: $CLUSTER, context: {cluster: $CLUSTER, user: $1}}
current-context: $CLUSTER
END
}
