#!/bin/sh
# The container of one founder: it founds with the others by files in EXCHANGE, then runs its node.
# ORG is its name, ORGS those of all founders, ADDRESS and AGENT_ADDRESS where others reach it (the second may be
# empty), HOME_DIR its own volume. With the word "agent" it runs the founder's agent instead, once all have founded (not
# every compose tool heeds `service_healthy`). For a trial on one machine: between companies people compare (docs/founding.md).
set -eu
cd "$HOME_DIR"
wait_for() {
    tries=0
    while [ ! -s "$1" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "$ORG: $1 did not come within five minutes" >&2
            exit 75
        fi
        sleep 1
    done
}
give() {
    name=$(basename "$1")
    cp "$1" "$EXCHANGE/.$name"
    mv "$EXCHANGE/.$name" "$EXCHANGE/$name"
}
all_of() {
    for org in $ORGS; do
        wait_for "$EXCHANGE/$org.$1.json"
        echo "$EXCHANGE/$org.$1.json"
    done
}
if [ "${1:-node}" = agent ]; then
    wait_for "$ORG/agent.toml"
    exec assent agent run --config "$HOME_DIR/$ORG/agent.toml"
fi
if [ ! -s "$ORG/node.toml" ]; then
    if [ ! -s "$ORG/$ORG.card.json" ]; then
        assent found request "$ORG" --founding local --address "$ADDRESS" ${AGENT_ADDRESS:+--agent-address "$AGENT_ADDRESS"}
    fi
    give "$ORG/$ORG.card.json"
    cards=$(all_of card)
    if [ ! -s founding.json ]; then
        assent found combine $cards
    fi
    assent found check founding.json --as "$ORG" >/dev/null
    if [ ! -s "$ORG/$ORG.signature.json" ]; then
        assent found sign founding.json --as "$ORG"
    fi
    give "$ORG/$ORG.signature.json"
    signatures=$(all_of signature)
    assent found install founding.json $signatures --as "$ORG" $INSTALL
fi
exec assent node run --config "$HOME_DIR/$ORG/node.toml"
