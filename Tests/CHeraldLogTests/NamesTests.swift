import CHeraldLog
import Testing

struct NamesTests {
    private func fault(_ name: String, isFilter: Bool) -> (isGood: Bool, what: String?, segment: UInt32, text: String) {
        unsafe withSlices(of: [name]) { slices in
            var fault = unsafe hr_name_fault()
            let isGood =
                unsafe isFilter ? hr_filter_check(slices[0], &fault) : hr_topic_check(slices[0], &fault)
            return unsafe (isGood, fault.what.map { unsafe String(cString: $0) }, fault.segment, text(fault.text))
        }
    }

    private func matches(_ filter: String, _ topic: String) -> Bool {
        unsafe withSlices(of: [filter, topic]) { unsafe hr_filter_matches($0[0], $0[1]) }
    }

    private func covers(_ outer: String, _ inner: String) -> Bool {
        unsafe withSlices(of: [outer, inner]) { unsafe hr_filter_covers($0[0], $0[1]) }
    }

    private func path(_ count: Int, of segment: String = "s") -> String {
        Array(repeating: segment, count: count).joined(separator: "/")
    }

    @Test(arguments: ["a", "orders/42/status", "A-Z_a.z~0:9@x", "~herald/x", String(repeating: "x", count: 128)])
    func `a good topic is a good filter too`(name: String) {
        #expect(fault(name, isFilter: false).isGood)
        #expect(fault(name, isFilter: false).what == nil)
        #expect(fault(name, isFilter: true).isGood)
    }

    @Test(arguments: ["*", "**", "a/*", "a/**", "*/b", "a/*/c/**", "*/**", "~herald/**"])
    func `a wildcard is a filter but no topic`(name: String) {
        #expect(fault(name, isFilter: true).isGood)
        #expect(!fault(name, isFilter: false).isGood)
    }

    @Test(arguments: [
        ("", 0, "is empty"), ("/", 1, "is empty"), ("a/", 2, "is empty"), ("/a", 1, "is empty"),
        ("a//b", 2, "is empty"),
        ("a b", 1, "holds a character other than A-Z a-z 0-9 - _ . ~ : @"),
        ("a/é", 2, "holds a character other than A-Z a-z 0-9 - _ . ~ : @"),
        ("a\0b", 1, "holds a character other than A-Z a-z 0-9 - _ . ~ : @"),
        ("a/**/b", 2, "is ** but not the last segment"), ("a/b*", 2, "mixes * with other characters"),
        ("***", 1, "mixes * with other characters"),
    ])
    func `a bad filter is told what is wrong and where`(name: String, segment: Int, what: String) {
        let found = fault(name, isFilter: true)
        #expect(!found.isGood)
        #expect(found.what == what)
        #expect(found.segment == UInt32(segment))
    }

    @Test func `a fault carries the text of its segment`() {
        #expect(fault("a/b!/c", isFilter: false).text == "b!")
        #expect(fault("a/*/c", isFilter: false).what == "holds *, which only filters may have")
    }

    @Test func `128 bytes are a segment and 129 are not`() {
        #expect(fault("a/" + String(repeating: "x", count: 128), isFilter: false).isGood)
        let found = fault("a/" + String(repeating: "x", count: 129), isFilter: false)
        #expect(found.what == "is longer than 128 bytes")
        #expect(found.segment == 2)
    }

    @Test func `32 segments are a name and 33 are not`() {
        let longest = path(32, of: String(repeating: "x", count: 128))
        #expect(longest.utf8.count == 32 * 129 - 1)
        #expect(fault(longest, isFilter: false).isGood)
        #expect(fault(path(31) + "/**", isFilter: true).isGood)
        #expect(fault(path(33), isFilter: false).what == "has more than 32 segments")
        #expect(fault(path(32) + "/**", isFilter: true).what == "has more than 32 segments")
    }

    @Test(arguments: [
        ("a/b", "a/b", true), ("a/b", "a/b/c", false), ("a/b", "a", false), ("a/*", "a/b", true), ("a/*", "a", false),
        ("a/*", "a/b/c", false), ("*/b", "a/b", true), ("*/b", "a/c", false), ("a/**", "a/b", true),
        ("a/**", "a/b/c", true), ("a/**", "a", false), ("a/**", "ab/c", false), ("**", "a", true), ("**", "a/b", true),
        ("*/**", "a", false), ("*/**", "a/b", true), ("a/*/c", "a/b/c", true), ("a/*/c", "a/b/d", false),
    ])
    func `a filter matches segment by segment`(filter: String, topic: String, expected: Bool) {
        #expect(matches(filter, topic) == expected)
    }

    @Test func `wildcards in the first place pass over reserved topics`() {
        #expect(!matches("**", "~herald"))
        #expect(!matches("*", "~herald"))
        #expect(!matches("*/x", "~herald/x"))
        #expect(matches("~herald/**", "~herald/x"))
        #expect(matches("~herald/*", "~herald/~x"))
        #expect(matches("a/*", "a/~x"))
    }

    @Test func `reserved and exact are told apart`() {
        unsafe withSlices(of: ["~a/b", "a/~b", "a/*"]) { slices in
            #expect(unsafe hr_topic_is_reserved(slices[0]))
            #expect(unsafe !hr_topic_is_reserved(slices[1]))
            #expect(unsafe hr_filter_is_exact(slices[0]))
            #expect(unsafe !hr_filter_is_exact(slices[2]))
        }
    }

    @Test func `covering means matching everything that the other matches`() {
        // Small enough to try all: covers may say no more and no less than all topics show. Topics are one segment
        // deeper than filters, so that ** shows itself, and know a segment that no filter names.
        let segments = ["a", "~b", "c"]
        var topics = segments
        for _ in 0..<3 {
            topics += topics.flatMap { topic in segments.map { topic + "/" + $0 } }
        }
        var bodies = ["a", "~b", "*"]
        for _ in 0..<2 {
            bodies += bodies.flatMap { body in ["a", "~b", "*"].map { body + "/" + $0 } }
        }
        let short = Set(bodies.filter { $0.split(separator: "/").count <= 2 })
        let filters = Array(short) + short.map { $0 + "/**" } + ["**"]
        let allTopics = Set(topics)
        let matched = Dictionary(
            uniqueKeysWithValues: filters.map { filter in
                (filter, Set(allTopics.filter { matches(filter, $0) }))
            })
        for outer in filters {
            for inner in filters {
                let expected = matched[inner]!.isSubset(of: matched[outer]!)
                #expect(covers(outer, inner) == expected, "\(outer) covers \(inner)")
            }
        }
    }

    @Test func `in the last place that a name can have, ** is one segment`() {
        #expect(covers(path(31) + "/*", path(31) + "/**"))
        #expect(!covers(path(30) + "/*", path(30) + "/**"))
    }
}
