//! The map of a cluster: which node has which slots.

use std::{cmp::Reverse, collections::HashSet, time::Instant};

use redis::{ErrorKind, RedisError, RedisResult, Value, from_redis_value};

use crate::store::redis::redirect::Node;

pub(crate) const SLOTS: u16 = 16384;

/// Which primary has which slots.
#[derive(Debug, Default)]
pub(crate) struct Map {
    /// Sorted by slot.
    ranges: Vec<Range>,
    /// All nodes, including replicas.
    nodes: HashSet<Node>,
    /// When the nodes were queried for it.
    queried: Option<Instant>,
    /// Whether no node answers at the moment, so that waiting is useless.
    is_down: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: Node,
    /// The primary's name in the cluster, which does not depend on its address.
    id: String,
}

impl Map {
    /// Whether it has been read from a node.
    pub(crate) fn is_loaded(&self) -> bool {
        !self.ranges.is_empty()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down
    }

    pub(crate) fn primary(&self, slot: u16) -> Option<&Node> {
        let after = self.ranges.partition_point(|range| range.first <= slot);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= range.last).then_some(&range.primary)
    }

    pub(crate) fn has_primary(&self, node: &str) -> bool {
        self.ranges.iter().any(|range| &*range.primary == node)
    }

    /// Each primary once, in any order. `None`, if a slot has none.
    pub(crate) fn primaries(&self) -> Option<HashSet<&Node>> {
        (self.slots() >= usize::from(SLOTS)).then(|| self.ranges.iter().map(|range| &range.primary).collect())
    }

    /// All nodes, in any order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Whether the nodes were queried at this time or later.
    pub(crate) fn is_of(&self, time: Instant) -> bool {
        self.queried.is_some_and(|queried| queried >= time)
    }

    /// The same map, from a query at this time.
    pub(crate) fn queried_at(self, time: Instant) -> Self {
        Self { queried: Some(time), ..self }
    }

    /// The same map, with another state of the cluster.
    pub(crate) fn with_down(&self, is_down: bool) -> Self {
        Self { ranges: self.ranges.clone(), nodes: self.nodes.clone(), queried: self.queried, is_down }
    }

    /// Reads the answer of a node at `host` to `CLUSTER SLOTS`.
    pub(crate) fn read(slots: Vec<Vec<Value>>, host: &str) -> RedisResult<Self> {
        let mut map = Self::default();
        for range in slots {
            let [first, last, nodes @ ..] = &range[..] else { continue };
            let nodes: Vec<_> = nodes.iter().map(|node| read_node(node, host)).collect::<RedisResult<_>>()?;
            map.nodes.extend(nodes.iter().map(|(node, _)| node.clone()));
            let Some((primary, id)) = nodes.into_iter().next() else { continue };
            let (first, last) = (read_number(first)?, read_number(last)?);
            if first <= last && last < SLOTS {
                map.ranges.push(Range { first, last, primary, id });
            }
        }
        map.ranges.sort_by_key(|range| range.first);
        Ok(map)
    }

    /// Whether two of the answers agree, so that no others are needed.
    pub(crate) fn is_agreed(answers: &[Self]) -> bool {
        answers.iter().any(|map| map.votes(answers) > 1)
    }

    /// Chooses among the answers of several nodes: the one that most nodes give, because a node that is cut off from the others does
    /// not see their changes. Of equally frequent answers, the one with the most slots counts, and then the first.
    pub(crate) fn choose(answers: Vec<Self>) -> Option<Self> {
        let ranks: Vec<_> = answers.iter().map(|map| (map.votes(&answers), map.slots())).collect();
        let best = (0..answers.len()).min_by_key(|index| Reverse(ranks[*index]))?;
        answers.into_iter().nth(best)
    }

    fn votes(&self, answers: &[Self]) -> usize {
        answers.iter().filter(|other| other.agrees_with(self)).count()
    }

    /// Whether the same primaries have the same slots. Nodes may know the same primary by different addresses.
    fn agrees_with(&self, other: &Self) -> bool {
        let part = |range: &Range| (range.first, range.last, range.id.clone());
        self.ranges.iter().map(part).eq(other.ranges.iter().map(part))
    }

    fn slots(&self) -> usize {
        self.ranges.iter().map(|range| usize::from(range.last - range.first) + 1).sum()
    }
}

/// Reads `[host, port, id, …]` into an address and a name. A node that does not know its own host leaves it out.
fn read_node(node: &Value, queried_host: &str) -> RedisResult<(Node, String)> {
    let parts: Vec<Value> = from_redis_value(node.clone())?;
    let [host, port, rest @ ..] = &parts[..] else {
        return Err(RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS names no node")));
    };
    let host: Option<String> = from_redis_value(host.clone())?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    let port = read_number(port)?;
    let node = Node::from(format!("{}:{port}", host.as_deref().unwrap_or(queried_host)));
    let id = rest.first().and_then(|id| from_redis_value(id.clone()).ok());
    Ok((node.clone(), id.unwrap_or_else(|| node.to_string())))
}

/// Reads a port or a slot. The conversion of redis-rs would wrap a number that is out of range.
fn read_number(value: &Value) -> RedisResult<u16> {
    let number: i64 = from_redis_value(value.clone())?;
    let out_of_range =
        || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS has a number out of range"));
    u16::try_from(number).map_err(|_| out_of_range())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64, id: &str) -> Value {
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString(id.into())])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Vec<Value> {
        [Value::Int(first), Value::Int(last)].into_iter().chain(nodes).collect()
    }

    fn map(slots: Vec<Vec<Value>>, host: &str) -> Map {
        Map::read(slots, host).unwrap_or_default()
    }

    fn primary(map: &Map, slot: u16) -> Option<&str> {
        map.primary(slot).map(|node| &**node)
    }

    #[test]
    fn a_node_without_an_address_of_its_own_is_where_it_was_asked() {
        for unknown in [node("", 7000, "a"), node("?", 7000, "a"), Value::Array(vec![Value::Nil, Value::Int(7000)])] {
            let map = map(vec![range(0, 100, vec![unknown, node("10.0.0.2", 7001, "b")])], "10.0.0.1");
            assert_eq!((primary(&map, 100), primary(&map, 101)), (Some("10.0.0.1:7000"), None));
        }
    }

    #[test]
    fn slots_may_be_told_in_any_order_with_gaps_and_in_ranges_that_make_no_sense() {
        let of = |first, last, id| range(first, last, vec![node("::1", 7000, id)]);
        let slots = vec![of(300, 16383, "c"), of(0, 99, "a"), of(200, 200, "b"), of(5, 2, "d"), of(0, 16384, "e")];
        let map = map(slots, "");
        let ids = [0, 99, 100, 199, 200, 201, 299, 300, 16383].map(|slot| primary(&map, slot).is_some());
        assert_eq!(ids, [true, true, false, false, true, false, false, true, true]);
        assert_eq!(primary(&map, 200), Some("::1:7000"));
        assert_eq!(primary(&Map::read(vec![range(0, 100, vec![])], "").unwrap_or_default(), 7), None);
        for wrong in [node("a", -1, "a"), node("a", 65_536, "a"), Value::Array(vec![]), Value::Nil] {
            assert!(Map::read(vec![range(0, 100, vec![wrong.clone()])], "").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_answer_of_the_most_nodes_is_believed() {
        let of = |id: &str, last, host: &str| map(vec![range(0, last, vec![node("", 7000, id)])], host);
        let chosen = |maps| Map::choose(maps).and_then(|map| primary(&map, 0).map(str::to_owned));
        let new = || [of("new", 100, "one"), of("new", 100, "two")];
        // Two that agree have different addresses for the same node.
        let cut_off = [of("old", 16383, "three")];
        assert_eq!(chosen(cut_off.into_iter().chain(new()).collect()).as_deref(), Some("one:7000"));
        // Of as many, the one that knows of more slots.
        assert_eq!(chosen(vec![of("a", 7, "one"), of("b", 16383, "two")]).as_deref(), Some("two:7000"));
        assert_eq!(chosen(vec![of("a", 7, "one"), of("b", 7, "two")]).as_deref(), Some("one:7000"));
        assert_eq!(chosen(vec![]), None);
    }
}
