import HeraldCore
import Testing

@testable import Herald

@Suite struct FilterSetTests {
    @Test(arguments: [
        ("orders/*", "orders/42", true), ("orders/*", "orders/*", true), ("orders/*", "orders/42/x", false),
        ("orders/*", "orders/**", false), ("orders/*", "orders", false), ("orders/42", "orders/*", false),
        ("a/**", "a/b", true), ("a/**", "a/*", true), ("a/**", "a/**", true), ("a/**", "a/b/**", true),
        ("a/**", "a/*/c", true), ("a/**", "a", false), ("a/**", "ab/c", false), ("a/**", "**", false),
        ("a/*/c", "a/b/c", true), ("a/*/c", "a/*/*", false),
        ("**", "a", true), ("**", "**", true), ("**", "*", true), ("**", "*/b", true),
        ("**", "~herald/probe", false), ("**", "~herald/**", false), ("*", "~herald", false), ("*", "**", false),
        ("~herald/**", "~herald/probe", true), ("a/*", "a/~b", true),
    ])
    func `a subscription lies within a grant or not`(grant: String, filter: String, isAllowed: Bool) throws {
        let set = FilterSet([try FilterName(grant)])
        #expect(set.allows(filter: try FilterName(filter)) == isAllowed)
    }

    @Test(arguments: [
        ("orders/*", "orders/42", true), ("orders/*", "orders/42/x", false), ("a/**", "a", false),
        ("a/**", "a/b/c", true),
        ("**", "~herald/probe", false), ("**", "x/~y", true),
    ])
    func `a topic lies within a grant or not`(grant: String, topic: String, isAllowed: Bool) throws {
        let set = FilterSet([try FilterName(grant)])
        #expect(set.allows(topic: try TopicName(topic)) == isAllowed)
        #expect(topic.withBytes { set.allows(topic: $0) } == isAllowed)
    }

    @Test func `an empty set allows nothing`() throws {
        #expect(FilterSet.none.isEmpty)
        #expect(!FilterSet.none.allows(topic: try TopicName("a")))
        #expect(!FilterSet.none.allows(filter: try FilterName("a")))
    }

    @Test func `everything is all but what is the server's own`() throws {
        #expect(FilterSet.everything.isEverything)
        #expect(!FilterSet.everything.isEmpty)
        #expect(FilterSet.everything.allows(filter: try FilterName("**")))
        #expect(!FilterSet.everything.allows(topic: try TopicName("~herald/probe")))
    }

    @Test func `several grants do not add up to one filter`() throws {
        let set = FilterSet([try FilterName("a/*"), try FilterName("a/*/**")])
        #expect(set.allows(filter: try FilterName("a/*")))
        #expect(!set.allows(filter: try FilterName("a/**")))
    }

    @Test func `what is given twice counts once`() throws {
        let (first, second) = (try FilterName("a"), try FilterName("b"))
        #expect(FilterSet([first, second, first]).filters == [first, second])
    }

    /// All filters of up to two segments, with and without `/**`, against all topics of up to four: every answer is
    /// checked both ways.
    ///
    /// A segment that no filter names stands for all the others, and two segments more than the longest filter has show
    /// what `**` reaches, so a filter that is not within a grant has a topic here that shows it.
    @Test func `a filter is allowed exactly when each of its topics is`() throws {
        let topics = try names(of: ["a", "b", "other", "~r"], upTo: 4).map { try TopicName($0) }
        let open = names(of: ["a", "b", "~r", "*"], upTo: 2)
        let filters = try (open + ["**"] + open.map { $0 + "/**" }).map { try FilterName($0) }
        let matched = filters.map { filter in topics.map { filter.matches($0) } }
        for (grant, granted) in zip(filters, matched) {
            let set = FilterSet([grant])
            for (filter, wanted) in zip(filters, matched) {
                let outside = zip(topics, zip(granted, wanted)).first { $0.1.1 && !$0.1.0 }?.0
                if set.allows(filter: filter) != (outside == nil) {
                    Issue.record("\(grant.text) and \(filter.text): \(outside?.text ?? "no topic is outside")")
                }
            }
        }
    }

    /// All names of the segments, of one to so many of them.
    private func names(of segments: [String], upTo count: Int) -> [String] {
        var names = segments
        var longest = segments
        for _ in 1..<count {
            longest = longest.flatMap { name in segments.map { "\(name)/\($0)" } }
            names += longest
        }
        return names
    }
}
