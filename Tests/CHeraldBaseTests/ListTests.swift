import CHeraldBase
import Testing

/// Links at fixed addresses, named by their numbers; the last is a list's head.
@safe private final class Links {
    private let places: UnsafeMutablePointer<hr_link>
    private let count: Int

    init(_ count: Int) {
        self.count = count
        unsafe places = .allocate(capacity: count)
        for index in 0..<count {
            unsafe hr_link_init(places + index)
        }
    }

    subscript(index: Int) -> UnsafeMutablePointer<hr_link> { unsafe places + index }

    /// The numbers of the links of the list at head, in order; both directions must agree.
    func members(of head: Int) -> [Int] {
        var forward: [Int] = []
        var link = unsafe self[head].pointee.next
        while let here = unsafe link, unsafe here != self[head] {
            forward.append(unsafe here - places)
            unsafe link = here.pointee.next
        }
        var backward: [Int] = []
        unsafe link = self[head].pointee.prev
        while let here = unsafe link, unsafe here != self[head] {
            backward.append(unsafe here - places)
            unsafe link = here.pointee.prev
        }
        #expect(backward == forward.reversed())
        #expect(unsafe hr_list_empty(self[head]) == forward.isEmpty)
        return forward
    }

    deinit { unsafe places.deallocate() }
}

struct ListTests {
    @Test func `links stand in the order in which they were pushed`() {
        let links = Links(4)
        #expect(links.members(of: 3) == [])
        for index in 0..<3 {
            #expect(unsafe !hr_link_linked(links[index]))
            unsafe hr_list_push_back(links[3], links[index])
            #expect(unsafe hr_link_linked(links[index]))
        }
        #expect(links.members(of: 3) == [0, 1, 2])
    }

    @Test(arguments: [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])])
    func `a link is taken out of any place, and out of none`(index: Int, left: [Int]) {
        let links = Links(4)
        for index in 0..<3 {
            unsafe hr_list_push_back(links[3], links[index])
        }
        for _ in 0..<2 {
            unsafe hr_link_remove(links[index])
            #expect(unsafe !hr_link_linked(links[index]))
            #expect(links.members(of: 3) == left)
        }
    }

    @Test(arguments: [(0, 0), (0, 2), (2, 0), (3, 1), (1, 3)])
    func `a splice moves all behind the end and leaves the source empty`(to: Int, from: Int) {
        let links = Links(to + from + 2)
        let (toHead, fromHead) = (to + from, to + from + 1)
        for index in 0..<to + from {
            unsafe hr_list_push_back(links[index < to ? toHead : fromHead], links[index])
        }
        unsafe hr_list_splice(links[toHead], links[fromHead])
        #expect(links.members(of: toHead) == Array(0..<to + from))
        #expect(links.members(of: fromHead) == [])
    }

    @Test func `lists agree with arrays under random churn`() {
        var random = SeededRandom(seed: 5)
        let links = Links(22)
        var expected: [[Int]] = [[], []]
        for _ in 0..<5000 {
            let (index, list) = (Int.random(in: 0..<20, using: &random), Int.random(in: 0..<2, using: &random))
            if expected.contains(where: { $0.contains(index) }) {
                unsafe hr_link_remove(links[index])
                expected = expected.map { $0.filter { $0 != index } }
            } else {
                unsafe hr_list_push_back(links[20 + list], links[index])
                expected[list].append(index)
            }
            if Int.random(in: 0..<40, using: &random) == 0 {
                unsafe hr_list_splice(links[20], links[21])
                expected = [expected[0] + expected[1], []]
            }
            #expect(links.members(of: 20) == expected[0] && links.members(of: 21) == expected[1])
        }
    }
}
