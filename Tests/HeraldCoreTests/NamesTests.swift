import HeraldCore
import Testing

@Suite struct NamesTests {
    @Test(arguments: ["a", "orders/42/status", "Az09-_.~:@/~b", "~herald/probe"])
    func `a topic of the grammar is taken`(text: String) throws {
        #expect(try TopicName(text).text == text)
    }

    @Test(arguments: [
        ("", 0, "is empty"), ("a//b", 2, "is empty"), ("/a", 1, "is empty"), ("a/", 2, "is empty"),
    ])
    func `an empty part of a topic is named`(text: String, segment: Int, what: String) {
        let fault = #expect(throws: NameFault.self) { try TopicName(text) }
        #expect(fault?.segment == segment)
        #expect(fault?.what == what)
    }

    @Test func `a fault shows the segment that is wrong`() {
        let fault = #expect(throws: NameFault.self) { try TopicName("a/b c/d") }
        #expect(fault?.segment == 2)
        #expect(fault?.text == "b c")
    }

    @Test func `a fault shows no more than the beginning of a long segment`() {
        let fault = #expect(throws: NameFault.self) { try TopicName(String(repeating: "x", count: 4000)) }
        #expect(fault?.text.count == 64)
    }

    @Test func `a topic has no wildcards`() {
        #expect(throws: NameFault.self) { try TopicName("a/*") }
        #expect(throws: NameFault.self) { try TopicName("a/**") }
    }

    @Test func `bytes that are not UTF-8 are no topic`() {
        #expect(throws: NameFault.self) { try TopicName("gr\u{FC}n") }
    }

    @Test(arguments: ["*", "**", "a/*/b", "a/**", "~herald/**"])
    func `a filter of the grammar is taken`(text: String) throws {
        #expect(try FilterName(text).text == text)
    }

    @Test(arguments: ["a/**/b", "a*", "a/***", "", "a//*"])
    func `a filter outside the grammar is refused`(text: String) {
        #expect(throws: NameFault.self) { try FilterName(text) }
    }

    @Test(arguments: [
        ("orders/*", "orders/42", true), ("orders/*", "orders/42/x", false), ("orders/**", "orders/42/x", true),
        ("**", "~herald/probe", false), ("~herald/**", "~herald/probe", true),
    ])
    func `a filter matches what its wildcards stand for`(filter: String, topic: String, isMatch: Bool) throws {
        #expect(try FilterName(filter).matches(TopicName(topic)) == isMatch)
    }

    @Test func `a first segment with a tilde is reserved`() {
        #expect("~x/y".withBytes { TopicName.isReserved($0) })
        #expect(!"x/~y".withBytes { TopicName.isReserved($0) })
    }
}
