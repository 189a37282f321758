# The screen at the door. Short, no blame: whoever reads it has one second.

# The page itself
starting = Starting, one moment please
look-here = Look here
badge-hint = or show your badge
pin-button = PIN
here-button = I am here
too-many = This screen is open in too many windows. Close one of them.
picture-stale = No new picture

# The PIN pad
pin-title = Enter your PIN
pin-done = Enter
pin-delete = Delete the last digit
pin-close = Close
pin-wait = One moment, please
pin-unreachable = That did not work. Please try again.
pin-count = Digits entered

# What somebody before the camera is asked to do
come-closer = A little closer
more-light = More light, please
hold-still = Hold still, please
turn-left = Turn your head to the left
turn-right = Turn your head to the right

# What somebody who is being enrolled is asked to do
enrol-title = Pictures of { $name }
enrol-count = { $enrolled } of { $wanted }
enrol-come-here = Please stand in front of the camera
enrol-look-straight = Look straight at the camera
enrol-turn-left = Turn your head a little to the left
enrol-turn-right = Turn your head a little to the right
enrol-turn-back = Turn back a little
enrol-chin-up = Chin up a little
enrol-chin-down = Chin down a little
enrol-middle = Move to the middle of the picture
enrol-less-light = Less light, please
enrol-one-person = One person at a time, please

# What became of a passage
welcome = { $part ->
    [morning] Good morning, { $name }
    [late-morning] Good morning, { $name }
    [noon] Good afternoon, { $name }
    [afternoon] Good afternoon, { $name }
    [evening] Good evening, { $name }
   *[unknown] Hello, { $name }
}
goodbye = Goodbye, { $name }
use-another = Please use your badge or PIN
use-card = Please use your card or PIN
between = { $first } or { $second }?
not-now = You cannot come in here right now
not-now-next = Please ask at the office
credential-invalid = That was not valid
credential-invalid-next = Please try again
wait-seconds = Please wait { $seconds ->
    [one] { $seconds } second
   *[other] { $seconds } seconds
}
wait-seconds-next = Then try again
door-locked-down = The door is locked
door-locked-down-next = Please follow the instructions of the staff
not-yet-logged = Not yet logged

# The line of state
ready = Ready
no-camera = No camera
picture-black = The camera sees nothing: more light, please
picture-frozen = The camera's picture has stopped
picture-covered = Something is in front of the camera
picture-overexposed = Too much light for the camera
adoption-digits = Hub asks for: { $digits }
fire = Fire alarm: the door is open
locked-down = Locked down
waiting-to-be-logged = { $events } not yet logged
offline-minutes = All kept, offline { $minutes } min
offline-hours = All kept, offline { $hours } h
offline-days = All kept, offline { $days ->
    [one] { $days } day
   *[other] { $days } days
}
clock-unset = The clock is not set
